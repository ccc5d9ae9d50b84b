# Sourced by scripts. install_packages NAME… installs Debian's packages, with sudo where that is needed.
# Needs `say` and `die`.
install_packages() {
    local packages=("$@")
    [[ ${#packages[@]} -gt 0 ]] || return 0
    command -v apt-get >/dev/null ||
        die "missing: ${packages[*]} (Debian's names), and there is no apt-get; install them by hand"
    local root=()
    if [[ $(id -u) -ne 0 ]]; then
        command -v sudo >/dev/null || die "missing: ${packages[*]}, and neither root nor sudo is here"
        root=(sudo)
    fi
    say "installing ${packages[*]}"
    # The packages bring services that would start at once; a policy that says no keeps them down.
    local policy=/usr/sbin/policy-rc.d ours=
    if [[ ! -e $policy ]]; then
        ours=yes
        printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee "$policy" >/dev/null
        "${root[@]}" chmod +x "$policy"
    fi
    local failed=
    "${root[@]}" apt-get update -qq &&
        "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends "${packages[@]}" || failed=yes
    [[ -z $ours ]] || "${root[@]}" rm -f "$policy"
    [[ -z $failed ]] || die "apt-get could not install ${packages[*]}"
}
