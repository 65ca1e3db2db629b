// Damaged config.json of every kind: nothing may crash, and what fails says so in one line.
#include <random>

#include "gtest/gtest.h"
#include "runsc/spec/parse.h"
#include "runsc/spec/unsupported.h"

namespace runsc::spec {
namespace {

constexpr const char* kWhole = R"({"ociVersion": "1.2.0", "process": {"terminal": true,
 "consoleSize": {"height": 24, "width": 80}, "user": {"uid": 1, "gid": 2, "umask": 18,
 "additionalGids": [3]}, "args": ["sh"], "env": ["A=b"], "cwd": "/", "capabilities":
 {"bounding": ["CAP_KILL"], "ambient": []}, "rlimits": [{"type": "RLIMIT_CPU", "soft": 1, "hard": 2}],
 "noNewPrivileges": true, "oomScoreAdj": 7, "scheduler": {"policy": "SCHED_IDLE", "flags": []},
 "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 1}}, "root": {"path": "r", "readonly": true},
 "mounts": [{"destination": "/a", "type": "tmpfs", "source": "x", "options": ["ro", "rslave", "size=1"]}],
 "hostname": "h", "hooks": {"poststop": [{"path": "/x", "args": ["x"], "timeout": 1}]},
 "annotations": {"k": "v"}, "linux": {"namespaces": [{"type": "pid", "path": "/p"}],
 "uidMappings": [{"containerID": 0, "hostID": 1, "size": 2}], "devices": [{"path": "/d", "type": "c",
 "major": 1, "minor": 2}], "resources": {"devices": [{"allow": false, "access": "rwm"}], "memory":
 {"limit": -1}, "cpu": {"shares": 2, "cpus": "0"}, "pids": {"limit": 1}, "blockIO": {"weight": 10,
 "weightDevice": [{"major": 1, "minor": 2, "weight": 20}]}, "hugepageLimits": [{"pageSize": "2MB",
 "limit": 1}], "network": {"classID": 1}, "rdma": {"m": {"hcaObjects": 1}}, "unified": {"a.b": "c"}},
 "seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86"], "syscalls":
 [{"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 1, "value": 2, "op":
 "SCMP_CMP_EQ"}]}]}, "sysctl": {"a": "b"}, "maskedPaths": ["/m"], "personality": {"domain": "LINUX"},
 "timeOffsets": {"monotonic": {"secs": -1}}, "intelRdt": {}}})";

constexpr const char* kPieces[] = {"null", "{}",   "[]",  "-1",  "1e308", "18446744073709551616",
                                   "\"\"", "true", "0.5", "{",   "]",     "\\u0000",
                                   ",",    ":",    "\"",  "\xff"};

void Try(const std::string& text) {
  const absl::StatusOr<Spec> spec = Parse(text);
  if (spec.ok()) {
    (void)CheckSupported(*spec);
    (void)Remarks(*spec);
  } else {
    EXPECT_FALSE(spec.status().message().empty()) << text;
  }
}

TEST(Mutation, TheWholeTextIsAccepted) {
  EXPECT_TRUE(Parse(kWhole).ok()) << Parse(kWhole).status();
}

TEST(Mutation, EveryPrefix) {
  const std::string whole = kWhole;
  for (size_t length = 0; length < whole.size(); ++length) Try(whole.substr(0, length));
}

TEST(Mutation, RandomBytesAndPieces) {
  std::mt19937 random(6);
  for (int round = 0; round < 4000; ++round) {
    std::string text = kWhole;
    for (unsigned changes = 1 + random() % 4; changes > 0; --changes) {
      const size_t at = random() % text.size();
      if (random() % 2 == 0) {
        text[at] = static_cast<char>(random());
      } else {
        text.replace(at, random() % 20, kPieces[random() % std::size(kPieces)]);
      }
    }
    Try(text);
  }
}

// Each value in turn becomes something of another type, so that the text stays JSON.
TEST(Mutation, EveryValueReplaced) {
  const std::string whole = kWhole;
  for (size_t at = 0; at < whole.size(); ++at) {
    if (whole[at] != ':' && whole[at] != '[') continue;
    const size_t end = whole.find_first_of(",}]", at);
    for (const char* piece : kPieces) {
      std::string text = whole;
      Try(text.replace(at + 1, end - at - 1, piece));
    }
  }
}

}  // namespace
}  // namespace runsc::spec
