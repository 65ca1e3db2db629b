# The Debian packages that building and testing need: the one list. Sourced by ./sandbox and
# tests/run.
BUILD_PACKAGES=(g++ cmake ninja-build python3 libabsl-dev libcli11-dev nlohmann-json3-dev
  libseccomp-dev libgtest-dev libgmock-dev libbenchmark-dev libzydis-dev linux-libc-dev)
# What the program tests run. A program that is missing all the same is skipped with a word.
TEST_PACKAGES=(bc binutils busybox-static curl dash diffutils file findutils fio mawk gcc git grep gzip
  iperf3 iproute2 iputils-ping libc6-dev libpython3.11-testsuite lsof make musl-tools netcat-openbsd passwd patch
  perl procps psmisc redis-tools rsync sed socat sqlite3 stress-ng
  tar util-linux xz-utils)

# Servers and what they run on (tests/programs/servers.py), and Go (golang.py): 450 MB, half a minute.
SERVER_PACKAGES=(curl golang-go nginx-light nodejs openjdk-17-jdk-headless openssh-client openssh-server
  postgresql redis-server tmux wrk)

# The daemons that use an OCI runtime, and the runtimes that its tests are measured with.
OCI_PACKAGES=(conmon containerd containernetworking-plugins crun docker.io iptables podman
  python3-grpcio runc systemd tini uidmap)

# install_missing PACKAGE…: installs those that are not there; without the right to, names them.
install_missing() {
  local missing=() package
  for package in "$@"; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] ||
      missing+=("$package")
  done
  ((${#missing[@]})) || return 0
  if ((EUID != 0)); then
    echo "sandbox: missing Debian packages: ${missing[*]} (apt-get install them as root)" >&2
    return 1
  fi
  echo "sandbox: installing ${missing[*]}" >&2
  # In runlevel 1 Debian's packages do not start the servers that they bring.
  local log install=(env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -q
    --no-install-recommends "${missing[@]}")
  # The lists of a fresh machine are empty or old, and only then is an update worth its time.
  log=$( ("${install[@]}" || { apt-get update -q && "${install[@]}"; }) 2>&1 </dev/null) || {
    echo "$log" >&2
    echo "sandbox: cannot install ${missing[*]}" >&2
    return 1
  }
}
