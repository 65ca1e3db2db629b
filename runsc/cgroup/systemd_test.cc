// What systemd is told, and how its answers are read: on text and with a peer that is a thread.
// tests/oci/systemd.py talks to a real one.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runsc/cgroup/bus.h"
#include "runsc/cgroup/properties.h"

namespace runsc::cgroup {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const Placement kV1 = {
    .directories = {{"memory", "/m"}, {"cpu", "/c"}, {"cpuset", "/s"}, {"blkio", "/b"}}};
const Placement kV2 = {.directories = {{"", "/u"}}};
constexpr uint64_t kInfinity = UINT64_MAX;

std::vector<Property> Of(const Placement& placement, const spec::Resources& resources,
                         int version = 252) {
  absl::StatusOr<std::vector<Property>> properties = PropertiesOf(placement, resources, version);
  EXPECT_TRUE(properties.ok()) << properties.status();
  return properties.ok() ? *std::move(properties) : std::vector<Property>();
}

std::string ErrorOf(const spec::Resources& resources) {
  return std::string(PropertiesOf(kV2, resources, 252).status().message());
}

TEST(SystemdProperties, Memory) {
  spec::Resources r;
  r.memory = {.limit = 1000, .reservation = 500, .swap = 3000};
  EXPECT_THAT(Of(kV2, r), ElementsAre(Property{"MemoryMax", uint64_t{1000}},
                                      Property{"MemoryLow", uint64_t{500}},
                                      Property{"MemorySwapMax", uint64_t{2000}}));
  EXPECT_THAT(Of(kV1, r), ElementsAre(Property{"MemoryLimit", uint64_t{1000}}));
  r.memory = {.limit = -1};
  EXPECT_THAT(Of(kV2, r),
              ElementsAre(Property{"MemoryMax", kInfinity}, Property{"MemorySwapMax", kInfinity}));
  r.memory = {.limit = 0, .reservation = 0, .swap = 0};
  EXPECT_THAT(Of(kV2, r), IsEmpty());
}

TEST(SystemdProperties, Cpu) {
  spec::Resources r;
  r.cpu = {.shares = 1024, .quota = 33333, .period = 100000};
  EXPECT_THAT(Of(kV2, r), ElementsAre(Property{"CPUWeight", uint64_t{39}},
                                      Property{"CPUQuotaPeriodUSec", uint64_t{100000}},
                                      Property{"CPUQuotaPerSecUSec", uint64_t{340000}}));
  EXPECT_THAT(Of(kV1, r, 241), ElementsAre(Property{"CPUShares", uint64_t{1024}},
                                           Property{"CPUQuotaPerSecUSec", uint64_t{340000}}));
  r.cpu = {.shares = 1024, .quota = -1, .idle = 1};
  EXPECT_THAT(Of(kV2, r), ElementsAre(Property{"CPUWeight", uint64_t{0}},
                                      Property{"CPUQuotaPerSecUSec", kInfinity}));
  r.cpu = {.quota = 50000};
  EXPECT_THAT(Of(kV2, r), ElementsAre(Property{"CPUQuotaPerSecUSec", uint64_t{500000}}));
  r.cpu = {.quota = INT64_MAX, .period = 1};
  EXPECT_THAT(ErrorOf(r), HasSubstr("linux.resources.cpu.quota"));
}

TEST(SystemdProperties, CpusetOfV2) {
  spec::Resources r;
  r.cpu = {.cpus = "0-2,9", .mems = "0"};
  EXPECT_THAT(Of(kV2, r), ElementsAre(Property{"AllowedCPUs", std::vector<uint8_t>{7, 2}},
                                      Property{"AllowedMemoryNodes", std::vector<uint8_t>{1}}));
  EXPECT_THAT(Of(kV2, r, 243), IsEmpty());
  EXPECT_THAT(Of(kV1, r), IsEmpty());
  for (const char* bad : {"1-", "x", "2-1", "1-2-3", "99999999999", "8192"}) {
    r.cpu.cpus = bad;
    EXPECT_THAT(ErrorOf(r), HasSubstr("linux.resources.cpu.cpus")) << bad;
  }
}

TEST(SystemdProperties, TasksAndBlockIo) {
  spec::Resources r;
  r.pids_limit = 20;
  r.block_io.weight = 1000;
  EXPECT_THAT(Of(kV2, r), ElementsAre(Property{"TasksMax", uint64_t{104}},
                                      Property{"IOWeight", uint64_t{10000}}));
  r.pids_limit = 0;
  EXPECT_THAT(Of(kV1, r), ElementsAre(Property{"TasksMax", kInfinity},
                                      Property{"BlockIOWeight", uint64_t{1000}}));
}

TEST(SystemdProperties, Unified) {
  spec::Resources r;
  r.unified = {{"memory.high", "100"},
               {"pids.max", "max"},
               {"cpu.max", "max 50000"},
               {"cpuset.cpus", "1"},
               {"hugetlb.2MB.max", "5"}};
  EXPECT_THAT(Of(kV2, r),
              ElementsAre(Property{"MemoryHigh", uint64_t{100}}, Property{"TasksMax", kInfinity},
                          Property{"CPUQuotaPeriodUSec", uint64_t{50000}},
                          Property{"CPUQuotaPerSecUSec", kInfinity},
                          Property{"AllowedCPUs", std::vector<uint8_t>{2}}));
  r.unified = {{"memory.max", "much"}};
  EXPECT_THAT(ErrorOf(r), HasSubstr("unified.memory.max: much"));
  r.unified = {{"cpu.max", ""}};
  EXPECT_THAT(ErrorOf(r), HasSubstr("unified.cpu.max"));
}

TEST(SystemdProperties, Versions) {
  EXPECT_EQ(ParseVersion("252.38-1~deb12u1"), 252);
  EXPECT_EQ(ParseVersion("v247"), 247);
  EXPECT_EQ(ParseVersion("x"), 0);
  EXPECT_EQ(ParseVersion(""), 0);
}

TEST(BusWriter, AlignsAsTheSpecificationSays) {
  using std::string_literals::operator""s;
  EXPECT_EQ(BusWriter().Text("ab").Number(5).bytes(), "\2\0\0\0ab\0\0\5\0\0\0"s);
  EXPECT_EQ(BusWriter().NoStructs().bytes(), "\0\0\0\0\0\0\0\0"s);
  EXPECT_EQ(BusWriter().Properties({{"P", true}}).bytes(),
            "\x10\0\0\0\0\0\0\0"
            "\1\0\0\0P\0\1b\0\0\0\0\1\0\0\0"s);
  EXPECT_EQ(BusWriter().Variant(uint64_t{7}).bytes(), "\1t\0\0\0\0\0\0\7\0\0\0\0\0\0\0"s);
  EXPECT_EQ(BusWriter().Variant(std::vector<uint32_t>{9}).bytes(), "\2au\0\4\0\0\0\t\0\0\0"s);
  EXPECT_EQ(BusWriter().Variant(std::vector<uint8_t>{9}).bytes(), "\2ay\0\1\0\0\0\t"s);
  EXPECT_EQ(BusWriter().Variant(std::vector<std::string>{"x"}).bytes(),
            "\2as\0\6\0\0\0\1\0\0\0x\0"s);
}

TEST(BusReader, StopsAtTheEnd) {
  BusReader reader(BusWriter().Text("ab").Number(7).bytes());
  EXPECT_EQ(reader.Text(), "ab");
  EXPECT_EQ(reader.Number(), 7u);
  EXPECT_TRUE(reader.done());
  EXPECT_FALSE(reader.failed());
  EXPECT_EQ(reader.Number(), 0u);
  EXPECT_TRUE(reader.failed());
  BusReader liar(BusWriter().Number(UINT32_MAX).bytes());
  EXPECT_EQ(liar.Text(), "");
  EXPECT_TRUE(liar.failed());
}

// A listener that takes one connection, reads until `calls` calls have come and sends its text.
class Peer {
 public:
  explicit Peer(std::string text) {
    char name[] = "/tmp/bus_test.XXXXXX";
    folder_ = mkdtemp(name);
    listener_ = UniqueFd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{.sun_family = AF_UNIX};
    path().copy(address.sun_path, sizeof(address.sun_path) - 1);
    EXPECT_EQ(bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(listen(listener_.get(), 1), 0);
    thread_ = std::thread([this, text = std::move(text)] {
      const UniqueFd peer(accept(listener_.get(), nullptr, nullptr));
      EXPECT_EQ(send(peer.get(), text.data(), text.size(), MSG_NOSIGNAL),
                static_cast<ssize_t>(text.size()));
      shutdown(peer.get(), SHUT_WR);
      char buffer[4096];
      while (read(peer.get(), buffer, sizeof(buffer)) > 0) {
      }
    });
  }
  ~Peer() {
    thread_.join();
    unlink(path().c_str());
    rmdir(folder_.c_str());
  }
  std::string path() const { return folder_ + "/s"; }

 private:
  std::string folder_;
  UniqueFd listener_;
  std::thread thread_;
};

// `type`: 2 a return, 3 an error, 4 a signal.
std::string MessageText(uint8_t type, uint32_t reply_to, const std::string& name,
                        const std::string& body) {
  BusWriter header;
  header.Byte('l').Byte(type).Byte(0).Byte(1).Number(static_cast<uint32_t>(body.size())).Number(1);
  const BusWriter::Array fields = header.BeginArray(8);
  if (reply_to != 0) header.Align(8).Byte(5).Signature("u").Number(reply_to);
  if (!name.empty()) header.Align(8).Byte(type == 4 ? 3 : 4).Signature("s").Text(name);
  header.EndArray(fields);
  return header.Align(8).bytes() + body;
}

constexpr char kOk[] = "DATA\r\nOK 0123\r\n";
constexpr Bus::Method kMethod = {"/o", "i", "m", "s"};

TEST(BusPeer, SignalsAnswersAndErrors) {
  const std::string ended = BusWriter().Number(3).Text("/job/3").Text("u").Text("done").bytes();
  Peer peer(kOk + MessageText(4, 0, "Other", "") + MessageText(4, 0, "JobRemoved", ended) +
            MessageText(2, 1, "", BusWriter().Text("/job/3").bytes()) +
            MessageText(3, 2, "org.freedesktop.systemd1.NoSuchUnit",
                        BusWriter().Text("no unit").bytes()));
  absl::StatusOr<Bus> bus = Bus::Connect(peer.path());
  ASSERT_TRUE(bus.ok()) << bus.status();
  absl::StatusOr<BusReader> answer = bus->Call(kMethod, BusWriter().Text("x"));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(*bus->AwaitJob(answer->Text()), "done");
  const absl::Status failure = bus->Call(kMethod, BusWriter().Text("x")).status();
  EXPECT_TRUE(absl::IsNotFound(failure));
  EXPECT_EQ(failure.message(), "systemd: no unit");
  EXPECT_TRUE(absl::IsUnavailable(bus->Call(kMethod, BusWriter().Text("x")).status()));
}

TEST(BusPeer, RefusesAndRubbish) {
  for (const std::string& text :
       {std::string("REJECTED EXTERNAL\r\n"), std::string(2000, 'x'), std::string("OK")}) {
    Peer peer(text);
    EXPECT_FALSE(Bus::Connect(peer.path()).ok());
  }
  std::string huge = MessageText(2, 1, "", "");
  huge.replace(4, 4, "\xff\xff\xff\x7f");
  for (const std::string& text : {std::string(64, '\0'), std::string("l\2"), huge}) {
    Peer peer(kOk + text);
    absl::StatusOr<Bus> bus = Bus::Connect(peer.path());
    ASSERT_TRUE(bus.ok()) << bus.status();
    EXPECT_FALSE(bus->Call(kMethod, BusWriter()).ok());
  }
}

TEST(BusPeer, NobodyListens) {
  EXPECT_TRUE(absl::IsNotFound(Bus::Connect("/nonexistent/socket").status()));
  EXPECT_FALSE(Bus::Connect(std::string(200, 'x')).ok());
}

}  // namespace
}  // namespace runsc::cgroup
