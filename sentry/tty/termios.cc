#include "sentry/tty/termios.h"

#include <algorithm>
#include <iterator>

namespace sentry {
namespace {

struct Baud {
  uint32_t code, rate;
};
constexpr Baud kBauds[] = {
    {B0, 0},
    {B50, 50},
    {B75, 75},
    {B110, 110},
    {B134, 134},
    {B150, 150},
    {B200, 200},
    {B300, 300},
    {B600, 600},
    {B1200, 1200},
    {B1800, 1800},
    {B2400, 2400},
    {B4800, 4800},
    {B9600, 9600},
    {B19200, 19200},
    {B38400, 38400},
    {B57600, 57600},
    {B115200, 115200},
    {B230400, 230400},
    {B460800, 460800},
    {B500000, 500000},
    {B576000, 576000},
    {B921600, 921600},
    {B1000000, 1000000},
    {B1152000, 1152000},
    {B1500000, 1500000},
    {B2000000, 2000000},
    {B2500000, 2500000},
    {B3000000, 3000000},
    {B3500000, 3500000},
    {B4000000, 4000000},
};

uint32_t RateOf(uint32_t code, uint32_t otherwise) {
  if (code == BOTHER) return otherwise;
  const auto* const found = std::find_if(std::begin(kBauds), std::end(kBauds),
                                         [&](const Baud& b) { return b.code == code; });
  return found != std::end(kBauds) ? found->rate : 0;
}

}  // namespace

Termios Termios::Raw() {
  Termios raw;
  raw.iflag = raw.oflag = raw.lflag = 0;
  return raw;
}

void Termios::DeriveSpeeds() {
  const uint32_t input = cflag >> IBSHIFT & CBAUD;
  const uint32_t rate = RateOf(cflag & CBAUD, ospeed);
  // B0 in the upper field: the input is as fast as the output.
  ispeed = input == B0 ? rate : RateOf(input, ispeed);
  ospeed = rate;
}

Termio ToTermio(const Termios& from) {
  Termio to{.iflag = static_cast<uint16_t>(from.iflag),
            .oflag = static_cast<uint16_t>(from.oflag),
            .cflag = static_cast<uint16_t>(from.cflag),
            .lflag = static_cast<uint16_t>(from.lflag),
            .line = from.line,
            .cc = {},
            .padding = 0};
  std::copy_n(from.cc.begin(), to.cc.size(), to.cc.begin());
  return to;
}

Termios WithTermio(Termios old, const Termio& change) {
  const auto low = [](uint32_t& flags, uint16_t value) { flags = (flags & 0xffff0000) | value; };
  low(old.iflag, change.iflag);
  low(old.oflag, change.oflag);
  low(old.cflag, change.cflag);
  low(old.lflag, change.lflag);
  old.line = change.line;
  std::copy(change.cc.begin(), change.cc.end(), old.cc.begin());
  return old;
}

}  // namespace sentry
