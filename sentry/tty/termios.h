// The settings of a terminal as the kernel keeps them: termios(3), ioctl_tty(2).
#ifndef SENTRY_TTY_TERMIOS_H_
#define SENTRY_TTY_TERMIOS_H_

#include <asm/termbits.h>

#include <array>
#include <cstdint>

namespace sentry {

// struct termios2 of the ABI, 44 bytes; the first 36 are its struct termios.
struct Termios {
  uint32_t iflag = ICRNL | IXON;
  uint32_t oflag = OPOST | ONLCR;
  uint32_t cflag = B38400 | CS8 | CREAD;
  uint32_t lflag = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN;
  uint8_t line = 0;
  std::array<uint8_t, NCCS> cc = {3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0};
  uint32_t ispeed = 38400;
  uint32_t ospeed = 38400;

  bool operator==(const Termios&) const = default;
  // What the master's side of a pseudo-terminal keeps: nothing is processed.
  static Termios Raw();
  // Baud rates as `cflag` says, or as they are when it says BOTHER.
  void DeriveSpeeds();
};
static_assert(sizeof(Termios) == 44);

// struct termio of System V, for TCGETA and TCSETA.
struct Termio {
  uint16_t iflag, oflag, cflag, lflag;
  uint8_t line;
  std::array<uint8_t, 8> cc;
  uint8_t padding;
};
static_assert(sizeof(Termio) == 18);

Termio ToTermio(const Termios& from);
// The low halves of the flags and the first characters replaced.
Termios WithTermio(Termios old, const Termio& change);

}  // namespace sentry

#endif  // SENTRY_TTY_TERMIOS_H_
