#include <linux/capability.h>
#include <linux/mount.h>
#include <linux/seccomp.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/resource.h>

#include <cerrno>
#include <nlohmann/json.hpp>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runsc/spec/parse.h"
#include "runsc/spec/unsupported.h"

namespace runsc::spec {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

// The least that is a config.json.
json Minimal() {
  return json::parse(R"({"ociVersion": "1.0.2", "root": {"path": "rootfs"},
      "process": {"args": ["true"], "cwd": "/"}})");
}

// Minimal() with `value`, which is JSON, at a JSON pointer.
json With(const char* where, const char* value) {
  json document = Minimal();
  document[json::json_pointer(where)] = json::parse(value);
  return document;
}

Spec Read(const json& document) {
  absl::StatusOr<Spec> spec = Parse(document.dump());
  EXPECT_TRUE(spec.ok()) << spec.status();
  return spec.ok() ? *std::move(spec) : Spec{};
}

std::string Complaint(const json& document) {
  const absl::StatusOr<Spec> spec = Parse(document.dump());
  return spec.ok() ? "(accepted)" : std::string(spec.status().message());
}

std::string Refusal(const json& document) {
  const absl::Status status = CheckSupported(Read(document));
  return status.ok() ? "(supported)" : std::string(status.message());
}

Mount ReadMount(const char* type, const char* options) {
  json document = Minimal();
  document["mounts"] = json::array({{{"destination", "/m"}, {"type", type}, {"source", "src"}}});
  document["mounts"][0]["options"] = json::parse(options);
  const Spec spec = Read(document);
  return spec.mounts.empty() ? Mount{} : spec.mounts[0];
}

TEST(Spec, DefaultsOfTheLeastConfig) {
  const Spec spec = Read(Minimal());
  EXPECT_EQ(spec.oci_version, "1.0.2");
  ASSERT_TRUE(spec.process && spec.root);
  EXPECT_EQ(spec.root->path, "rootfs");
  EXPECT_FALSE(spec.root->readonly);
  EXPECT_FALSE(spec.process->terminal);
  EXPECT_EQ(spec.process->user.uid, 0u);
  EXPECT_FALSE(spec.process->user.umask);
  EXPECT_FALSE(spec.process->capabilities);
  EXPECT_FALSE(spec.process->oom_score_adj);
  EXPECT_THAT(spec.mounts, IsEmpty());
  EXPECT_FALSE(spec.linux_.resources);
  EXPECT_TRUE(CheckSupported(spec).ok());
}

TEST(Spec, NullIsAbsentAndUnknownFieldsAreIgnored) {
  json document = Minimal();
  document["mounts"] = nullptr;
  document["linux"] = {{"resources", nullptr}, {"fromTheFuture", 1}};
  document["process"]["user"] = nullptr;
  const Spec spec = Read(document);
  EXPECT_FALSE(spec.linux_.resources);
}

TEST(Spec, EveryFieldOfTheProcess) {
  json document = Minimal();
  document["process"] = json::parse(R"({
      "terminal": true, "consoleSize": {"height": 24, "width": 80},
      "user": {"uid": 1000, "gid": 100, "umask": 23, "additionalGids": [5, 6]},
      "args": ["sh", "-c", "x"], "env": ["A=1", "B="], "cwd": "/tmp",
      "capabilities": {"bounding": ["CAP_CHOWN", "CAP_KILL"], "ambient": ["CAP_BPF"]},
      "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 7, "hard": 18446744073709551615}],
      "noNewPrivileges": true, "oomScoreAdj": -500,
      "scheduler": {"policy": "SCHED_BATCH", "nice": -3, "flags": ["SCHED_FLAG_RESET_ON_FORK"]},
      "ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 4},
      "execCPUAffinity": {"initial": "0", "final": "0-1"},
      "apparmorProfile": "p", "selinuxLabel": "l"})");
  const Process process = *Read(document).process;
  EXPECT_TRUE(process.terminal);
  EXPECT_EQ(process.console_size->rows, 24);
  EXPECT_EQ(process.console_size->columns, 80);
  EXPECT_EQ(process.user.uid, 1000u);
  EXPECT_EQ(process.user.gid, 100u);
  EXPECT_EQ(process.user.umask, 027u);
  EXPECT_THAT(process.user.additional_gids, ElementsAre(5, 6));
  EXPECT_THAT(process.args, ElementsAre("sh", "-c", "x"));
  EXPECT_THAT(process.env, ElementsAre("A=1", "B="));
  EXPECT_EQ(process.cwd, "/tmp");
  EXPECT_EQ(process.capabilities->bounding, 1u << CAP_CHOWN | 1u << CAP_KILL);
  EXPECT_EQ(process.capabilities->ambient, uint64_t{1} << CAP_BPF);
  EXPECT_EQ(process.capabilities->effective, 0u);
  ASSERT_EQ(process.rlimits.size(), 1u);
  EXPECT_EQ(process.rlimits[0].resource, RLIMIT_NOFILE);
  EXPECT_EQ(process.rlimits[0].soft, 7u);
  EXPECT_EQ(process.rlimits[0].hard, RLIM_INFINITY);
  EXPECT_TRUE(process.no_new_privileges);
  EXPECT_EQ(process.oom_score_adj, -500);
  EXPECT_EQ(process.scheduler->policy, 3u);
  EXPECT_EQ(process.scheduler->nice, -3);
  EXPECT_EQ(process.scheduler->flags, 1u);
  EXPECT_EQ(process.io_priority->io_class, 3);
  EXPECT_EQ(process.exec_cpu_affinity->final, "0-1");
  EXPECT_EQ(process.apparmor_profile, "p");
  EXPECT_EQ(process.selinux_label, "l");
}

TEST(Spec, TheProcessAlone) {
  EXPECT_EQ(ParseProcess(R"({"args": ["a"], "cwd": "/x"})")->cwd, "/x");
  EXPECT_EQ(ParseProcess(R"({"args": ["a"], "cwd": "x"})").status().message(),
            "cwd: \"x\" is not absolute");
}

TEST(Spec, MountOptionsBecomeFlagsAndData) {
  const Mount mount =
      ReadMount("tmpfs", R"(["nosuid", "ro", "strictatime", "mode=755", "size=64k", "tmpcopyup"])");
  EXPECT_EQ(mount.destination, "/m");
  EXPECT_EQ(mount.flags, static_cast<uint64_t>(MS_NOSUID | MS_RDONLY | MS_STRICTATIME));
  EXPECT_EQ(mount.data, "mode=755,size=64k");
  EXPECT_TRUE(mount.tmpcopyup);
  EXPECT_FALSE(mount.IsBind());
}

TEST(Spec, TheLaterOfOppositeMountOptionsWins) {
  EXPECT_EQ(ReadMount("tmpfs", R"(["ro", "rw"])").flags, 0u);
  EXPECT_EQ(ReadMount("tmpfs", R"(["ro", "rw"])").cleared_flags, uint64_t{MS_RDONLY});
  EXPECT_EQ(ReadMount("tmpfs", R"(["rw", "ro"])").flags, uint64_t{MS_RDONLY});
  EXPECT_EQ(ReadMount("tmpfs", R"(["noexec", "exec", "nodev"])").flags, uint64_t{MS_NODEV});
}

TEST(Spec, BindsByOptionOrByType) {
  EXPECT_EQ(ReadMount("", R"(["bind", "ro"])").type, "bind");
  EXPECT_EQ(ReadMount("none", R"(["rbind"])").flags, uint64_t{MS_BIND | MS_REC});
  EXPECT_TRUE(ReadMount("bind", "[]").IsBind());
  EXPECT_EQ(ReadMount("bind", R"(["bind"])").flags, uint64_t{MS_BIND});
}

TEST(Spec, PropagationAndRecursiveOptionsAreKeptApart) {
  const Mount mount = ReadMount("bind", R"(["rbind", "rslave", "private", "rro", "rnoatime"])");
  EXPECT_THAT(mount.propagation, ElementsAre(MS_SLAVE | MS_REC, MS_PRIVATE));
  EXPECT_EQ(mount.recursive_set, uint64_t{MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOATIME});
  EXPECT_EQ(mount.recursive_clear, uint64_t{MOUNT_ATTR__ATIME});
  EXPECT_EQ(mount.data, "");
}

TEST(Spec, Hooks) {
  const Spec spec = Read(With("/hooks", R"({
      "prestart": [{"path": "/a"}], "createRuntime": [{"path": "/b"}],
      "createContainer": [{"path": "/c"}], "startContainer": [{"path": "/d"}],
      "poststart": [{"path": "/e"}],
      "poststop": [{"path": "/f", "args": ["f", "x"], "env": ["K=V"], "timeout": 3}, {"path": "/g"}]})"));
  EXPECT_EQ(spec.hooks.prestart.at(0).path, "/a");
  EXPECT_EQ(spec.hooks.create_runtime.at(0).path, "/b");
  EXPECT_EQ(spec.hooks.create_container.at(0).path, "/c");
  EXPECT_EQ(spec.hooks.start_container.at(0).path, "/d");
  EXPECT_EQ(spec.hooks.poststart.at(0).path, "/e");
  ASSERT_EQ(spec.hooks.poststop.size(), 2u);
  EXPECT_THAT(spec.hooks.poststop[0].args, ElementsAre("f", "x"));
  EXPECT_THAT(spec.hooks.poststop[0].env, ElementsAre("K=V"));
  EXPECT_EQ(spec.hooks.poststop[0].timeout, 3);
}

TEST(Spec, TheLinuxSection) {
  const Linux out = Read(With("/linux", R"({
      "namespaces": [{"type": "pid"}, {"type": "network", "path": "/run/ns"}],
      "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 10}],
      "devices": [{"type": "u", "path": "/dev/fuse", "major": 10, "minor": 229, "fileMode": 33206}],
      "cgroupsPath": "/a/b", "rootfsPropagation": "rslave",
      "sysctl": {"net.core.somaxconn": "64"}, "maskedPaths": ["/proc/kcore"],
      "readonlyPaths": ["/proc/sys"], "mountLabel": "x", "personality": {"domain": "LINUX"},
      "timeOffsets": {"boottime": {"secs": 0}}})"))
                        .linux_;
  EXPECT_EQ(out.Find(NamespaceType::kPid)->path, "");
  EXPECT_EQ(out.Find(NamespaceType::kNetwork)->path, "/run/ns");
  EXPECT_EQ(out.Find(NamespaceType::kUser), nullptr);
  EXPECT_EQ(out.uid_mappings.at(0).host_id, 1000u);
  EXPECT_EQ(out.devices.at(0).type, 'c');
  EXPECT_EQ(out.devices.at(0).minor, 229);
  EXPECT_EQ(out.devices.at(0).file_mode, 0666u);
  EXPECT_EQ(out.cgroups_path, "/a/b");
  EXPECT_EQ(out.rootfs_propagation, uint64_t{MS_SLAVE | MS_REC});
  EXPECT_THAT(out.sysctl, ElementsAre(Pair("net.core.somaxconn", "64")));
  EXPECT_THAT(out.masked_paths, ElementsAre("/proc/kcore"));
  EXPECT_THAT(out.readonly_paths, ElementsAre("/proc/sys"));
  EXPECT_EQ(out.mount_label, "x");
  EXPECT_EQ(out.personality, uint32_t{PER_LINUX});
  EXPECT_FALSE(out.time_offsets);
}

TEST(Spec, Resources) {
  const Resources r = *ParseResources(R"({
      "devices": [{"allow": false}, {"allow": true, "type": "c", "major": 1, "minor": -1, "access": "rw"}],
      "memory": {"limit": 67108864, "swap": -1, "reservation": 1, "swappiness": 0,
                 "disableOOMKiller": true},
      "cpu": {"shares": 512, "quota": 50000, "period": 100000, "cpus": "0-1", "mems": "0", "idle": 1},
      "pids": {"limit": 20},
      "blockIO": {"weight": 300, "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 99}]},
      "hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}],
      "network": {"classID": 1048577, "priorities": [{"name": "eth0", "priority": 5}]},
      "rdma": {"mlx": {"hcaHandles": 3}}, "unified": {"memory.high": "1000"}})");
  ASSERT_EQ(r.devices.size(), 2u);
  EXPECT_EQ(r.devices[0].type, 'a');
  EXPECT_EQ(r.devices[1].major, 1);
  EXPECT_FALSE(r.devices[1].minor);
  EXPECT_EQ(r.devices[1].access, "rw");
  EXPECT_EQ(r.memory.limit, 67108864);
  EXPECT_EQ(r.memory.swap, -1);
  EXPECT_EQ(r.memory.swappiness, 0u);
  EXPECT_EQ(r.memory.disable_oom_killer, true);
  EXPECT_EQ(r.cpu.shares, 512u);
  EXPECT_EQ(r.cpu.quota, 50000);
  EXPECT_EQ(r.cpu.cpus, "0-1");
  EXPECT_EQ(r.pids_limit, 20);
  EXPECT_EQ(r.block_io.weight, 300);
  EXPECT_EQ(r.block_io.read_bps.at(0).rate, 99u);
  EXPECT_EQ(r.hugepages.at(0).page_size, "2MB");
  EXPECT_EQ(r.network.class_id, 1048577u);
  EXPECT_EQ(r.rdma.at("mlx").hca_handles, 3u);
  EXPECT_THAT(r.unified, ElementsAre(Pair("memory.high", "1000")));
}

TEST(Spec, Seccomp) {
  const Seccomp seccomp = *Read(With("/linux/seccomp", R"({
      "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "architectures": ["SCMP_ARCH_X86_64"],
      "flags": ["SECCOMP_FILTER_FLAG_LOG"],
      "syscalls": [{"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"},
                   {"names": ["personality"], "action": "SCMP_ACT_ERRNO",
                    "args": [{"index": 0, "value": 8, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}]}]})"))
                               .linux_.seccomp;
  EXPECT_EQ(seccomp.default_action, uint32_t{SECCOMP_RET_ERRNO | ENOSYS});
  ASSERT_EQ(seccomp.rules.size(), 2u);
  EXPECT_EQ(seccomp.rules[0].action, uint32_t{SECCOMP_RET_ALLOW});
  EXPECT_THAT(seccomp.rules[0].names, ElementsAre("read", "write"));
  EXPECT_EQ(seccomp.rules[1].action, uint32_t{SECCOMP_RET_ERRNO | EPERM});
  EXPECT_EQ(seccomp.rules[1].args.at(0).op, SeccompArg::Op::kMaskedEq);
  EXPECT_EQ(seccomp.rules[1].args.at(0).value_two, 2u);
}

struct Malformed {
  const char* where;  // A JSON pointer.
  const char* value;
  const char* complaint;
};

constexpr Malformed kMalformed[] = {
    {"/ociVersion", "2", "ociVersion: is number, not a string"},
    {"/ociVersion", R"("2.0.0")", "ociVersion: 2.0.0 is not version 1"},
    {"/process", "[]", "process: is array, not an object"},
    {"/process/args", "[]", "process.args: is empty"},
    {"/process/args", "null", "process.args: is missing"},
    {"/process/args", R"("true")", "process.args: is string, not an array"},
    {"/process/args", "[1]", "process.args[0]: is number, not a string"},
    {"/process/args", R"(["a\u0000b"])", "process.args[0]: holds a NUL"},
    {"/process/cwd", R"("tmp")", "process.cwd: \"tmp\" is not absolute"},
    {"/process/cwd", "null", "process.cwd: is missing"},
    {"/process/terminal", "1", "process.terminal: is number, not true or false"},
    {"/process/user/uid", "-1", "process.user.uid: -1 is not from 0 to 4294967295"},
    {"/process/user/uid", "1.5", "process.user.uid: is number, not a whole number"},
    {"/process/user/uid", "4294967295", "process.user.uid: 4294967295 is nobody's"},
    {"/process/user/umask", "512", "process.user.umask: has more than nine bits"},
    {"/process/user/additionalGids", "[0, -3]", "process.user.additionalGids[1]: -3 is not"},
    {"/process/capabilities/bounding", R"(["CAP_FLY"])",
     "process.capabilities.bounding[0]: \"CAP_FLY\" is no capability"},
    {"/process/rlimits", R"([{"type": "RLIMIT_FUN", "soft": 1, "hard": 1}])",
     "process.rlimits[0].type: \"RLIMIT_FUN\" is no resource"},
    {"/process/rlimits", R"([{"type": "RLIMIT_CPU", "soft": 1}])",
     "process.rlimits[0].hard: is missing"},
    {"/process/rlimits", R"([{"type": "RLIMIT_CPU", "soft": 2, "hard": 1}])", "is above hard"},
    {"/process/rlimits",
     R"([{"type": "RLIMIT_CPU", "soft": 1, "hard": 1}, {"type": "RLIMIT_CPU", "soft": 1, "hard": 1}])",
     "process.rlimits: names a resource twice"},
    {"/process/oomScoreAdj", "1001", "process.oomScoreAdj: 1001 is not from -1000 to 1000"},
    {"/process/scheduler", R"({"policy": "SCHED_BEST"})",
     "process.scheduler.policy: \"SCHED_BEST\""},
    {"/process/ioPriority", R"({"class": "IOPRIO_CLASS_BE", "priority": 8})", "is not from 0 to 7"},
    {"/root", R"({})", "root.path: is missing"},
    {"/mounts", R"({})", "mounts: is object, not an array"},
    {"/mounts", R"([{"type": "tmpfs"}])", "mounts[0].destination: is missing"},
    {"/mounts", R"([{"destination": "/a"}])", "mounts[0].type: is missing"},
    {"/mounts", R"([{"destination": "/a", "options": ["bind"]}])", "mounts[0].source: is missing"},
    {"/hostname", "7", "hostname: is number, not a string"},
    {"/hooks/poststop", R"([{"path": "x"}])", "hooks.poststop[0].path: \"x\" is not absolute"},
    {"/hooks/prestart", R"([{"path": "/x", "timeout": 0}])", "timeout: is not above 0"},
    {"/annotations", R"({"a": 1})", "annotations.a: is number, not a string"},
    {"/linux/namespaces", R"([{"type": "net"}])",
     "linux.namespaces[0].type: \"net\" is no namespace"},
    {"/linux/namespaces", R"([{"type": "pid"}, {"type": "pid"}])", "names a type twice"},
    {"/linux/namespaces", R"([{"type": "pid", "path": "x"}])", "\"x\" is not absolute"},
    {"/linux/uidMappings", R"([{"containerID": 0, "hostID": 1}])",
     "uidMappings[0].size: is missing"},
    {"/linux/devices", R"([{"type": "q", "path": "/dev/q"}])", "is not one of b, c, u, p"},
    {"/linux/devices", R"([{"type": "c", "path": "/dev/q"}])",
     "linux.devices[0].major: is missing"},
    {"/linux/rootfsPropagation", R"("rfast")", "is no propagation"},
    {"/linux/personality", R"({"domain": "SOLARIS"})", "is not one of LINUX, LINUX32"},
    {"/linux/maskedPaths", R"(["proc"])", "linux.maskedPaths: \"proc\" is not absolute"},
    {"/linux/resources/memory/limit", "-2", "linux.resources.memory.limit: is below -1"},
    {"/linux/resources/memory/limit", "9223372036854775808", "is not from"},
    {"/linux/resources/memory", "5", "linux.resources.memory: is number, not an object"},
    {"/linux/resources/cpu/cpus", R"("0\n1")", "is no list of numbers"},
    {"/linux/resources/cpu/shares", "-1", "linux.resources.cpu.shares: -1 is not from 0"},
    {"/linux/resources/blockIO/weight", "5", "5 is not from 10 to 1000"},
    {"/linux/resources/devices", R"([{"allow": true, "access": "x"}])", "letters other than"},
    {"/linux/resources/unified", R"({"../x": "1"})", "cannot be part of a file's name"},
    {"/linux/resources/hugepageLimits", R"([{"pageSize": "../2MB", "limit": 1}])",
     "cannot be part"},
    {"/linux/seccomp", R"({})", "linux.seccomp.defaultAction: is missing"},
    {"/linux/seccomp", R"({"defaultAction": "SCMP_ACT_WHAT"})", "is no seccomp action"},
    {"/linux/seccomp", R"({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 5})",
     "is for SCMP_ACT_ERRNO"},
    {"/linux/seccomp", R"({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["Z80"]})",
     "linux.seccomp.architectures[0]: \"Z80\" is no architecture"},
    {"/linux/seccomp", R"({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": []}]})",
     "linux.seccomp.syscalls[0].names: is empty"},
};

TEST(Spec, MalformedInputNamesFieldAndCause) {
  for (const Malformed& row : kMalformed) {
    EXPECT_THAT(Complaint(With(row.where, row.value)), HasSubstr(row.complaint)) << row.value;
    EXPECT_THAT(Complaint(With(row.where, row.value)), Not(HasSubstr("\n")));
  }
}

TEST(Spec, TextThatIsNotJsonNamesTheLine) {
  EXPECT_EQ(Parse("{\n\"a\": 1,\n]").status().message(), "not JSON: line 3, byte 11");
  EXPECT_EQ(Parse("").status().message(), "not JSON: line 1, byte 1");
  EXPECT_EQ(Parse("[]").status().message(), "not a JSON object");
  EXPECT_EQ(Parse("{}").status().message(), "ociVersion: is missing");
}

TEST(Spec, DeepNestingIsNoStackOverflow) {
  EXPECT_FALSE(Parse(std::string(1 << 20, '[')).ok());
  const std::string deep = std::string(100000, '[') + std::string(100000, ']');
  EXPECT_TRUE(Parse(R"({"ociVersion": "1.0.0", "x": )" + deep + "}").ok());
}

TEST(Spec, LoadNamesTheFile) {
  EXPECT_EQ(Load("/nonexistent").status().message(),
            "/nonexistent/config.json: No such file or directory");
}

TEST(Spec, CapabilitiesOfExec) {
  EXPECT_EQ(*ParseCapability("CAP_KILL"), CAP_KILL);
  EXPECT_EQ(*ParseCapability("net_admin"), CAP_NET_ADMIN);
  EXPECT_FALSE(ParseCapability("CAP_").ok());
}

constexpr Malformed kUnsupported[] = {
    {"/windows", "{}", "windows: is not supported"},
    {"/vm", "{}", "vm: is not supported"},
    {"/mounts", R"([{"destination": "/a", "type": "bind", "source": "/b", "options": ["idmap"]}])",
     "mounts: id-mapped"},
    {"/mounts",
     R"([{"destination": "/a", "type": "bind", "source": "/b", "options": ["remount"]}])",
     "mounts: the option remount"},
    {"/linux/intelRdt", R"({"closID": "x"})", "linux.intelRdt"},
    {"/linux/memoryPolicy", R"({"mode": "x"})", "linux.memoryPolicy"},
    {"/linux/netDevices", R"({"eth0": {}})", "linux.netDevices"},
    {"/linux/timeOffsets", R"({"boottime": {"secs": 1}})", "linux.timeOffsets"},
    {"/linux/namespaces", R"([{"type": "user", "path": "/proc/1/ns/user"}])", "user namespace"},
    {"/linux/personality", R"({"domain": "LINUX32"})", "linux.personality"},
    {"/linux/seccomp", R"({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x"})",
     "linux.seccomp"},
    {"/linux/seccomp",
     R"({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["a"], "action": "SCMP_ACT_NOTIFY"}]})",
     "linux.seccomp"},
    {"/process/scheduler", R"({"policy": "SCHED_FIFO", "priority": 3})", "process.scheduler"},
    {"/process/execCPUAffinity", "{}", "process.execCPUAffinity"},
};

TEST(Spec, WhatIsNotSupportedIsRefusedByName) {
  for (const Malformed& row : kUnsupported) {
    EXPECT_THAT(Refusal(With(row.where, row.value)), HasSubstr(row.complaint)) << row.value;
  }
}

TEST(Spec, WhatMakesNoDifferenceIsRemarked) {
  EXPECT_THAT(Remarks(Read(With("/process/apparmorProfile", R"("docker-default")"))),
              testing::Contains(HasSubstr("process.apparmorProfile")));
  EXPECT_THAT(Remarks(Read(With("/linux/namespaces", R"([{"type": "pid"}, {"type": "ipc"},
      {"type": "mount"}, {"type": "uts"}])"))),
              IsEmpty());
}

}  // namespace
}  // namespace runsc::spec
