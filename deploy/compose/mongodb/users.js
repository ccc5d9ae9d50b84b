// Run once by MongoDB's image when its volume is new. The runtime writes to this database and no other; the
// exporter reads it, and writes the state of pushed chats.
const { readFileSync } = require('fs');

const password = (name) => readFileSync(`/run/secrets/${name}`, 'utf8').trim();
const mozaiks = db.getSiblingDB('MozaiksAI');

for (const user of ['runtime', 'exporter']) {
  mozaiks.createUser({
    user,
    pwd: password(`mongo_${user}_password`),
    roles: [{ role: 'readWrite', db: 'MozaiksAI' }],
  });
}
