"""Containers that find each other by name on a network of Docker's, as docker compose sets them up."""
import os
import re
import shutil
import subprocess

import daemons
from runtime import Skip, eventually, want, want_equal


def with_programs(template, folder, *programs):
    """The template and programs of the host, with the libraries that they load."""
    shutil.copytree(template, folder, symlinks=True)
    for program in programs:
        path = shutil.which(program)
        if path is None:
            raise Skip(f"no {program}")
        listed = subprocess.run(["ldd", path], stdout=subprocess.PIPE, check=True).stdout.decode()
        for library in re.findall(r"(/\S+) \(0x", listed):
            place = folder + library
            os.makedirs(os.path.dirname(place), exist_ok=True)
            shutil.copy(library, place)
        shutil.copy(path, folder + "/bin/" + program)


class Network:
    def __init__(self, docker, name):
        self.docker, self.name = docker, name

    def __enter__(self):
        self.docker("network", "create", self.name)
        return self.name

    def __exit__(self, *_):
        self.docker.remove_all()
        self.docker("network", "rm", self.name)


@daemons.docker_case
def redis_by_name(docker):
    """A client reaches redis by the name of its container, which Docker's name server knows."""
    root = os.path.join(docker.folder, "redis-root")
    with_programs(docker.template, root, "redis-server", "redis-cli")
    docker.import_image(root, "redis")
    shutil.rmtree(root)
    with Network(docker, "net-redis") as network:
        docker("run", "-d", "--name", "cache", "--network", network, "--network-alias", "store",
               "redis", "redis-server", "--save", "", "--protected-mode", "no", "--unixsocket",
               "/run/redis.sock")
        docker.await_log("cache", "Ready to accept connections")
        client = ["run", "--rm", "--network", network, "redis"]
        want_equal(docker(*client, "redis-cli", "-h", "cache", "set", "key", "value"), "OK\n",
                   "answer")
        want_equal(docker(*client, "redis-cli", "-h", "store", "get", "key"), "value\n",
                   "answer by an alias")
        want_equal(docker("exec", "cache", "redis-cli", "-s", "/run/redis.sock", "get", "key"),
                   "value\n", "answer over a unix socket")
        docker("restart", "-t", "5", "cache")
        want(eventually(lambda: docker.try_run(*client, "redis-cli", "-h", "cache", "ping").out ==
                        "PONG\n", 20), "no answer after a restart")
    docker("rmi", "redis")


@daemons.docker_case
def embedded_name_server(docker):
    """127.0.0.11 in resolv.conf answers for the network's names, and no others."""
    with Network(docker, "net-dns") as network:
        docker.detached("server", "echo ready; sleep 1000", "--network", network)
        address = docker.inspect(
            "server", f'(index .NetworkSettings.Networks "{network}").IPAddress')
        outcome = docker.shell("grep -c '^nameserver 127.0.0.11$' /etc/resolv.conf; "
                               "ping -c1 -W5 server | head -1 | cut -d' ' -f3", "--network", network)
        outcome.expect(status=0, out=f"1\n({address}):\n")


@daemons.docker_case
def two_networks(docker):
    """What is connected later appears, and who is on another network is not reached."""
    with Network(docker, "net-one") as one, Network(docker, "net-two") as two:
        serve = "echo ready; while :; do echo hello | nc -l -p 7000; done"
        docker.detached("server", serve, "--network", one)
        ask = "nc -w 2 server 7000 </dev/null"
        want(docker.shell(ask, "--network", two).status != 0, "it is reached from elsewhere")
        docker("network", "connect", two, "server")
        want("eth1" in docker("exec", "server", "ls", "/sys/class/net"), "no second interface")
        outcome = docker.shell(f"for i in $(seq 50); do {ask} && exit; sleep 0.1; done; exit 9",
                               "--network", two)
        outcome.expect(status=0, out="hello\n")
        docker.remove_all()
