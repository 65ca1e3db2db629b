#include "sentry/tty/line_discipline.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <random>
#include <string>

namespace sentry {
namespace {

class FakeDriver final : public TtyDriver {
 public:
  size_t Room() const override { return room - std::min(room, shown.size()); }
  void Put(std::string_view bytes) override { shown += bytes; }
  void FlushOutput() override { ++flushes; }
  void RaiseSignal(int sig) override { signals.push_back(sig); }
  void TellStatus(uint8_t appear, uint8_t disappear) override {
    status = static_cast<uint8_t>((status & ~disappear) | appear);
  }

  size_t room = 1 << 20;
  std::string shown;
  int flushes = 0;
  std::vector<int> signals;
  uint8_t status = 0;
};

std::span<const uint8_t> Bytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

class LineDisciplineTest : public testing::Test {
 protected:
  void Change(uint32_t Termios::*flags, uint32_t off, uint32_t on) {
    Termios termios = line.termios();
    termios.*flags = (termios.*flags & ~off) | on;
    line.SetTermios(termios);
  }
  std::string Read(size_t size = 5000) {
    std::string text(size, '\0');
    const auto count = line.Read({reinterpret_cast<uint8_t*>(text.data()), size});
    if (!count.ok()) return "!" + std::to_string(count.error().code());
    text.resize(*count);
    return text;
  }
  FakeDriver driver;
  LineDiscipline line{driver};
};

const std::string kEagain = "!" + std::to_string(EAGAIN);

TEST_F(LineDisciplineTest, LinesAndEcho) {
  EXPECT_EQ(line.Receive(Bytes("ab\ncd")), 5u);
  EXPECT_EQ(driver.shown, "ab\r\ncd");
  EXPECT_EQ(line.InputCount(), 3u);
  EXPECT_EQ(Read(), "ab\n");
  EXPECT_EQ(Read(), kEagain);
}

TEST_F(LineDisciplineTest, TheBufferIsFullAtItsEnd) {
  Change(&Termios::lflag, ICANON | ECHO, 0);
  EXPECT_EQ(line.Receive(Bytes(std::string(5000, 'x'))), LineDiscipline::kBufferSize - 1);
  EXPECT_EQ(Read(10), std::string(10, 'x'));
  EXPECT_EQ(line.Receive(Bytes(std::string(5000, 'y'))), 10u);
}

TEST_F(LineDisciplineTest, AnEndlessLineKeepsItsLastByte) {
  Change(&Termios::lflag, ECHO, 0);
  EXPECT_EQ(line.Receive(Bytes(std::string(9000, 'x') + "\n")), 9001u);
  const std::string got = Read();
  EXPECT_EQ(got, std::string(4095, 'x') + "\n");
}

TEST_F(LineDisciplineTest, AnEndlessLineOfMarkedBytes) {
  Change(&Termios::iflag, 0, PARMRK);
  EXPECT_EQ(line.Receive(Bytes(std::string(20000, '\377'))), 20000u);
  line.Receive(Bytes("\n"));
  EXPECT_LE(Read().size(), LineDiscipline::kBufferSize);
}

TEST_F(LineDisciplineTest, SignalsAreRaisedAndFlush) {
  line.Receive(Bytes("abc\003\034\032"));
  EXPECT_EQ(driver.signals, (std::vector<int>{SIGINT, SIGQUIT, SIGTSTP}));
  EXPECT_EQ(driver.flushes, 3);
  EXPECT_EQ(line.InputCount(), 0u);
  EXPECT_NE(driver.status & TIOCPKT_FLUSHREAD, 0);
}

TEST_F(LineDisciplineTest, EchoWaitsForRoom) {
  driver.room = 2;
  line.Receive(Bytes("abcd"));
  EXPECT_EQ(driver.shown, "ab");
  EXPECT_EQ(line.Write(Bytes("x")), 0u);  // After the echo only.
  driver.room = 100;
  line.FlushEchoes();
  EXPECT_EQ(driver.shown, "abcd");
  EXPECT_EQ(line.Write(Bytes("x\n")), 2u);
  EXPECT_EQ(driver.shown, "abcdx\r\n");
}

TEST_F(LineDisciplineTest, WaitingEchoIsBounded) {
  line.Stop(LineDiscipline::StoppedBy::kLine);
  for (int i = 0; i < 100; ++i) line.Receive(Bytes(std::string(1000, 'x')));
  line.Start(LineDiscipline::StoppedBy::kLine);
  EXPECT_EQ(driver.shown.size(), 4096u);
}

TEST_F(LineDisciplineTest, OutputIsNotSplitInPairs) {
  driver.room = 2;
  EXPECT_EQ(line.Write(Bytes("a\nb")), 1u);
  EXPECT_EQ(driver.shown, "a");
}

// Whatever is typed in whatever mode: positions stay in order and nothing is read that is not there.
TEST_F(LineDisciplineTest, RandomInputAndModes) {
  std::mt19937 random(1);
  const auto pick = [&](uint32_t n) { return static_cast<uint32_t>(random()) % n; };
  const std::string special("\003\034\032\177\025\027\026\022\004\n\r\t\021\023\377\303\251", 17);
  for (int round = 0; round < 20000; ++round) {
    driver.shown.clear();
    driver.room = pick(4) == 0 ? pick(100) : 100000;
    if (pick(50) == 0) {
      Termios termios;
      termios.iflag = static_cast<uint32_t>(random()) & 0177777;
      termios.oflag = static_cast<uint32_t>(random()) & 0177777;
      termios.lflag = static_cast<uint32_t>(random()) & 0377777;
      if (pick(3) != 0) termios.lflag |= ICANON;
      for (size_t i = 0; i < termios.cc.size(); ++i) {
        if (pick(5) == 0) termios.cc[i] = static_cast<uint8_t>(random());
      }
      line.SetTermios(termios);
    }
    std::string typed;
    for (uint32_t i = pick(pick(20) == 0 ? 6000 : 30); i > 0; --i) {
      typed += pick(3) == 0 ? special[pick(17)] : static_cast<char>(random());
    }
    ASSERT_LE(line.Receive(Bytes(typed)), typed.size());
    ASSERT_LE(line.Write(Bytes(typed)), typed.size());
    ASSERT_LE(line.InputCount(), LineDiscipline::kBufferSize);
    if (pick(3) == 0) {
      ASSERT_LE(Read(1 + pick(5000)).size(), LineDiscipline::kBufferSize);
    }
    if (pick(100) == 0) line.FlushInput();
    line.FlushEchoes();
  }
}

}  // namespace
}  // namespace sentry
