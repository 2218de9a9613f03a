# What the scripts of the peers share: throw-away servers of PostgreSQL and Redis, on free loopback ports, with their
# data in a temporary folder (so that fsync means a disk). To be sourced, with `set -euo pipefail`, in the repository.

servers=()
folder=

# Stops what was started, the last first, and throws its data away.
stop_servers() {
    local at
    for ((at = ${#servers[@]} - 1; at >= 0; at--)); do
        kill -TERM "${servers[at]}" 2>/dev/null || true
        wait "${servers[at]}" 2>/dev/null || true
    done
    servers=()
    [ -z "$folder" ] || rm -rf "$folder"
}
trap stop_servers EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

say() { echo "$*" >&2; }
fail() { say "error: $*"; exit 2; }

# Installs those of the Debian packages whose program is missing: need PACKAGE GLOB-OF-A-FILE …
need() {
    local missing=() as_root=()
    while [ $# -gt 0 ]; do
        compgen -G "$2" >/dev/null || missing+=("$1")
        shift 2
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    [ "$(id -u)" = 0 ] || as_root=(sudo -n)
    say "installing Debian's ${missing[*]}"
    # In runlevel 1 no service is started.
    local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get)
    { timeout 300 "${apt[@]}" update -q && timeout 600 "${apt[@]}" install -q -y --no-install-recommends "${missing[@]}"; } \
        >&2 || fail "these Debian packages can't be installed here: ${missing[*]}"
}

# Neither server runs as root. It takes the place of the shell that it is called in, so that the signal that stops that
# one stops the server.
as() {
    local user=$1
    shift
    if [ "$(id -u)" = 0 ]; then exec setpriv --reuid "$user" --regid "$user" --clear-groups "$@"; else exec "$@"; fi
}
own() { if [ "$(id -u)" = 0 ]; then chown "$1" "$2"; fi; }
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])' 2>/dev/null \
    || shuf -i 20000-32000 -n 1; }
# Waits 30 seconds at most until a command succeeds, or the process that it waits for has ended.
wait_for() {
    local pid=$1
    shift
    for _ in $(seq 300); do
        "$@" >/dev/null 2>&1 && return
        kill -0 "$pid" 2>/dev/null || return 1
        sleep 0.1
    done
    return 1
}

postgres_bin() { ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1; }

# Sets PEER_POSTGRES and PEER_REDIS to addresses of servers: those that are given, or new ones. Whoever connects to
# PEER_POSTGRES may make databases.
start_servers() {
    need postgresql '/usr/lib/postgresql/*/bin/postgres' redis-server /usr/bin/redis-server
    if [ -n "${PEER_POSTGRES:-}" ] && [ -n "${PEER_REDIS:-}" ]; then return; fi
    folder=$(mktemp -d "$PWD/bench.XXXXXX")
    chmod 755 "$folder"
    local bin port data=$folder/postgres
    bin=$(postgres_bin) port=$(free_port)
    mkdir "$data" && own postgres "$data"
    (as postgres "$bin/initdb" -D "$data" -U lastunit -A trust -E UTF8 --no-locale >/dev/null)
    # synchronous_commit and fsync stay on, as they are by default.
    as postgres "$bin/postgres" -D "$data" -p "$port" -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
        -c shared_buffers=1GB -c max_wal_size=8GB -c max_connections=200 -c log_min_messages=fatal 2>/dev/null &
    servers+=($!)
    wait_for $! "$bin/pg_isready" -h 127.0.0.1 -p "$port" || fail "PostgreSQL didn't start"
    PEER_POSTGRES=postgres://lastunit@127.0.0.1:$port/postgres
    port=$(free_port)
    redis-server --bind 127.0.0.1 --port "$port" --dir "$folder" --save '' --appendonly no --logfile redis.log >&2 &
    servers+=($!)
    wait_for $! redis-cli -p "$port" ping || fail "Redis didn't start"
    PEER_REDIS=redis://127.0.0.1:$port
    export PEER_POSTGRES PEER_REDIS
}

# Makes an empty database in the place of one of that name, and says its address.
fresh_database() {
    local psql=(psql -X -q -v ON_ERROR_STOP=1 -d "$PEER_POSTGRES")
    "${psql[@]}" -c "SET client_min_messages = error" -c "DROP DATABASE IF EXISTS $1 WITH (FORCE)" -c "CREATE DATABASE $1" >&2
    echo "${PEER_POSTGRES%/*}/$1"
}
