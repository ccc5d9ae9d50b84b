"""A MongoDB for tests: its wire protocol over mongomock, in memory.

Dates stay dates and doubles stay doubles. What is asked is counted, and what a test wants to go
wrong goes wrong.

    mongo_wire.py [--port N]

prints the port, one line, once it listens. The server ends when its standard input does.

Beside MongoDB's commands it knows two of its own, on the database `admin`, without credentials:

    {wireStats: 1}              what was asked since the start: `commands` by name, `documents`
                                returned, `fields` by name of those returned at the top level,
                                and `asked`, the last 1,000 commands as `[name, command]`
    {wireMisbehave: {...}}      what goes wrong from now on, all at once; {} is nothing:
                                `credentials`: refuse them; `delayMs`: before each answer to a
                                command; `drop`: names of commands in whose middle the connection
                                ends, "*" is all; `readOnly`: refuse writes; `failIds`: `_id`s that
                                no update may touch; `refuse`: aggregation operators that are not
                                known; `failCollections`: `{name: code}` for updates of a collection;
                                `applyThenDrop`: do the command, then end the connection

The handshake is never touched by `delayMs` and `drop`: a server that hangs looks well to it.
"""

import argparse
import asyncio
import collections
import datetime
import struct
import sys

import bson
import mongomock
from pymongo import ReturnDocument

HANDSHAKE = {"hello", "isMaster", "ismaster", "saslStart", "saslContinue", "endSessions"}
OWN = {"wireStats", "wireMisbehave"}
WRITES = {"insert", "update", "delete", "findAndModify", "createIndexes", "dropIndexes", "drop"}
OP_REPLY, OP_QUERY, OP_MSG = 1, 2004, 2013
MORE_TO_COME, CHECKSUM = 2, 1
MAX_MESSAGE = 48_000_000
MAX_DOCUMENT = 16 * 1024 * 1024


class Refused(Exception):
    def __init__(self, code, name, message):
        super().__init__(message)
        self.code, self.name = code, name


class Server:
    def __init__(self):
        self.client = mongomock.MongoClient()
        self.wrong = {}
        self.commands = collections.Counter()
        self.fields = collections.Counter()
        self.documents = 0
        self.asked = collections.deque(maxlen=1000)

    def answer(self, command):
        name = next(iter(command))
        handler = getattr(self, "do_" + name, None)
        if name not in OWN:
            self.commands[name] += 1
            if name not in HANDSHAKE:
                self.asked.append([name, bounded(command)])
        try:
            if handler is None:
                raise Refused(59, "CommandNotFound", f"no such command: '{name}'")
            if name in WRITES and self.wrong.get("readOnly"):
                raise Refused(10107, "NotWritablePrimary", "not primary")
            return {**handler(self.client[command.get("$db", "admin")], command), "ok": 1.0}
        except Refused as error:
            return {"ok": 0.0, "errmsg": str(error), "code": error.code, "codeName": error.name}
        except mongomock.DuplicateKeyError as error:
            return {"ok": 0.0, "errmsg": str(error), "code": 11000, "codeName": "DuplicateKey"}
        except Exception as error:  # The answer of a server to what it cannot do.
            message = f"{type(error).__name__}: {error}"
            return {"ok": 0.0, "errmsg": message, "code": 2, "codeName": "BadValue"}

    # The handshake.

    def do_hello(self, _database, _command):
        return {
            "isWritablePrimary": True,
            "ismaster": True,
            "maxBsonObjectSize": MAX_DOCUMENT,
            "maxMessageSizeBytes": MAX_MESSAGE,
            "maxWriteBatchSize": 100_000,
            "localTime": datetime.datetime.now(datetime.timezone.utc),
            "minWireVersion": 0,
            "maxWireVersion": 21,
            "readOnly": False,
        }

    do_isMaster = do_ismaster = do_hello

    def do_saslStart(self, _database, _command):
        raise Refused(18, "AuthenticationFailed", "Authentication failed.")

    def do_ping(self, _database, _command):
        return {}

    do_endSessions = do_killCursors = do_ping

    def do_buildInfo(self, _database, _command):
        return {"version": "7.0.0", "versionArray": [7, 0, 0, 0], "maxBsonObjectSize": MAX_DOCUMENT}

    # Our own commands.

    def do_wireStats(self, _database, _command):
        return {
            "commands": dict(self.commands),
            "documents": self.documents,
            "fields": [{"name": name, "count": n} for name, n in self.fields.items()],
            "asked": list(self.asked),
        }

    def do_wireMisbehave(self, _database, command):
        self.wrong = dict(command["wireMisbehave"])
        return {}

    # Reading.

    def do_find(self, database, command):
        self.refuse_operators(command.get("filter"), command.get("projection"))
        projection = command.get("projection") or None
        cursor = database[command["find"]].find(command.get("filter") or {}, projection)
        if command.get("sort"):
            cursor = cursor.sort(list(command["sort"].items()))
        if command.get("skip"):
            cursor = cursor.skip(int(command["skip"]))
        if command.get("limit"):
            cursor = cursor.limit(abs(int(command["limit"])))
        return self.cursor(database, command["find"], list(cursor))

    def do_aggregate(self, database, command):
        self.refuse_operators(command["pipeline"])
        found = list(database[command["aggregate"]].aggregate(command["pipeline"]))
        return self.cursor(database, command["aggregate"], found)

    def do_count(self, database, command):
        return {"n": database[command["count"]].count_documents(command.get("query") or {})}

    def do_listCollections(self, database, _command):
        names = database.list_collection_names()
        found = [{"name": name, "type": "collection", "options": {}} for name in names]
        return self.cursor(database, "$cmd.listCollections", found, counted=False)

    def do_listIndexes(self, database, command):
        name = command["listIndexes"]
        if name not in database.list_collection_names():
            raise Refused(26, "NamespaceNotFound", f"ns does not exist: {database.name}.{name}")
        found = [
            {"v": 2, "key": dict(index["key"]), "name": index_name}
            for index_name, index in database[name].index_information().items()
        ]
        return self.cursor(database, name, found, counted=False)

    def cursor(self, database, name, found, counted=True):
        if counted:
            self.documents += len(found)
            for document in found:
                self.fields.update(document.keys())
        namespace = f"{database.name}.{name}"
        return {"cursor": {"id": bson.Int64(0), "ns": namespace, "firstBatch": found}}

    def refuse_operators(self, *parts):
        unknown = set(self.wrong.get("refuse", ()))
        for name in keys(parts):
            if name in unknown:
                raise Refused(168, "InvalidPipelineOperator", f"Unrecognized expression '{name}'")

    # Writing.

    def do_insert(self, database, command):
        errors, n = [], 0
        for index, document in enumerate(command["documents"]):
            try:
                database[command["insert"]].insert_one(document)
                n += 1
            except mongomock.DuplicateKeyError as error:
                errors.append({"index": index, "code": 11000, "errmsg": str(error)})
                if command.get("ordered", True):
                    break
        return {"n": n, **({"writeErrors": errors} if errors else {})}

    def do_update(self, database, command):
        check_namespace(database.name, command["update"])
        code = self.wrong.get("failCollections", {}).get(command["update"])
        if code:
            raise Refused(code, "Failed", "this collection fails")
        errors, upserted, n, modified = [], [], 0, 0
        for index, statement in enumerate(command["updates"]):
            try:
                result = self.update_one(database[command["update"]], statement)
            except mongomock.DuplicateKeyError as error:
                errors.append({"index": index, "code": 11000, "errmsg": str(error)})
            except Refused as error:
                errors.append({"index": index, "code": error.code, "errmsg": str(error)})
            else:
                n += result.matched_count
                modified += result.modified_count or 0
                if result.upserted_id is not None:
                    upserted.append({"index": index, "_id": result.upserted_id})
                    n += 1
                continue
            if command.get("ordered", True):
                break
        answer = {"n": n, "nModified": modified}
        if upserted:
            answer["upserted"] = upserted
        if errors:
            answer["writeErrors"] = errors
        return answer

    def update_one(self, collection, statement):
        query, change = statement["q"], statement["u"]
        if query.get("_id") in self.wrong.get("failIds", ()):
            raise Refused(121, "DocumentValidationFailure", "Document failed validation")
        upsert = statement.get("upsert", False)
        if not change or not next(iter(change)).startswith("$"):
            return collection.replace_one(query, change, upsert=upsert)
        # mongomock makes a second document of an id that is taken; a server refuses it.
        is_taken = "_id" in query and collection.count_documents({"_id": query["_id"]})
        if upsert and is_taken and not collection.count_documents(query):
            raise mongomock.DuplicateKeyError("E11000 duplicate key error")
        for field in keys([change]):
            if "\0" in field:
                raise Refused(2, "BadValue", "field names cannot hold a null byte")
        update = collection.update_many if statement.get("multi") else collection.update_one
        return update(query, change, upsert=upsert)

    def do_delete(self, database, command):
        n = 0
        for statement in command["deletes"]:
            collection = database[command["delete"]]
            delete = collection.delete_one if statement.get("limit") == 1 else collection.delete_many
            n += delete(statement["q"]).deleted_count
        return {"n": n}

    def do_findAndModify(self, database, command):
        when = ReturnDocument.AFTER if command.get("new") else ReturnDocument.BEFORE
        found = database[command["findAndModify"]].find_one_and_update(
            command["query"],
            command["update"],
            upsert=command.get("upsert", False),
            return_document=when,
        )
        return {"value": found}

    def do_createIndexes(self, database, command):
        collection = database[command["createIndexes"]]
        for index in command["indexes"]:
            for name, known in collection.index_information().items():
                if dict(known["key"]) == dict(index["key"]) and name != index["name"]:
                    message = f"Index already exists with a different name: {name}"
                    raise Refused(85, "IndexOptionsConflict", message)
            collection.create_index(list(index["key"].items()), name=index["name"])
        return {}

    def do_dropIndexes(self, database, command):
        database[command["dropIndexes"]].drop_index(command["index"])
        return {}

    def do_drop(self, database, command):
        database.drop_collection(command["drop"])
        return {}

    def do_dropDatabase(self, database, _command):
        self.client.drop_database(database.name)
        return {}


def check_namespace(database, name):
    """What a server refuses, mongomock takes."""
    bad = not name or "$" in name or "\0" in name or name.startswith((".", "system."))
    if bad or name.endswith(".") or len(f"{database}.{name}".encode()) > 255:
        raise Refused(73, "InvalidNamespace", f"Invalid namespace specified '{database}.{name}'")


def keys(value):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from keys(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from keys(inner)


def bounded(command):
    """A command without what would make the account of it large."""
    return {
        name: len(value) if name in ("documents", "updates") else value
        for name, value in command.items()
        if not name.startswith("$")
    }


def read_message(body):
    """Takes the command out of an OP_MSG. Returns it and whether an answer is wanted."""
    flags = struct.unpack_from("<I", body)[0]
    position, end = 4, len(body) - (4 if flags & CHECKSUM else 0)
    command, sequences = {}, {}
    while position < end:
        kind = body[position]
        position += 1
        size = struct.unpack_from("<i", body, position)[0]
        section = body[position : position + size]
        position += size
        if kind == 0:
            command = bson.decode(section)
        else:
            name, _, documents = section[4:].partition(b"\0")
            sequences[name.decode()] = bson.decode_all(documents)
    return {**command, **sequences}, not flags & MORE_TO_COME


def read_query(body):
    """Takes the command out of an OP_QUERY, as the first greeting is sent."""
    start = body.index(b"\0", 4) + 1 + 8
    size = struct.unpack_from("<i", body, start)[0]
    return bson.decode(body[start : start + size])


async def converse(server, reader, writer):
    number = 0
    try:
        while True:
            size, request, _, kind = struct.unpack("<iiii", await reader.readexactly(16))
            if not 16 <= size <= MAX_MESSAGE:
                return
            body = await reader.readexactly(size - 16)
            command, wanted = (
                read_message(body) if kind == OP_MSG else (read_query(body), True)
            )
            name = next(iter(command), "")
            is_plain = name not in HANDSHAKE and name not in OWN
            drop = server.wrong.get("drop", ()) if is_plain else ()
            if "*" in drop or name in drop:
                server.commands[name] += 1
                return
            if is_plain and server.wrong.get("delayMs"):
                await asyncio.sleep(server.wrong["delayMs"] / 1000)
            if is_plain and server.wrong.get("credentials"):
                answer = {"ok": 0.0, "errmsg": "Authentication failed.", "code": 18,
                          "codeName": "AuthenticationFailed"}
            else:
                answer = server.answer(command)
            if is_plain and name in server.wrong.get("applyThenDrop", ()):
                return
            if wanted:
                number += 1
                payload = bson.encode(answer)
                if kind == OP_MSG:
                    payload, answer_kind = struct.pack("<IB", 0, 0) + payload, OP_MSG
                else:
                    payload, answer_kind = struct.pack("<iqii", 8, 0, 0, 1) + payload, OP_REPLY
                head = struct.pack("<iiii", 16 + len(payload), number, request, answer_kind)
                writer.write(head + payload)
                await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    server = Server()
    listener = await asyncio.start_server(
        lambda reader, writer: converse(server, reader, writer), "127.0.0.1", arguments.port
    )
    print(listener.sockets[0].getsockname()[1], flush=True)
    # Whoever started it is gone when there is nothing more to read.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)
    listener.close()


if __name__ == "__main__":
    asyncio.run(main())
