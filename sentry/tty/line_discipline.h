// N_TTY: what happens between the keys of a terminal and the program that reads them.
#ifndef SENTRY_TTY_LINE_DISCIPLINE_H_
#define SENTRY_TTY_LINE_DISCIPLINE_H_

#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "sentry/tty/termios.h"

namespace sentry {

// The driver below a discipline. Called with the lock held that guards the discipline.
class TtyDriver {
 public:
  // How many bytes Put would take.
  virtual size_t Room() const = 0;
  virtual void Put(std::string_view bytes) = 0;
  // Throws away output that nobody has taken yet.
  virtual void FlushOutput() = 0;
  // For the foreground process group. The driver sends it once the lock is released.
  virtual void RaiseSignal(int sig) = 0;
  // What a master in packet mode is told: TIOCPKT_* bits that appear and disappear.
  virtual void TellStatus(uint8_t appear, uint8_t disappear) = 0;

 protected:
  ~TtyDriver() = default;
};

// Input, echo, editing and output processing as drivers/tty/n_tty.c does them. Not thread-safe: its
// owner's lock guards it. Limits are Linux's: 4096 bytes of input, of which one is kept free, so
// that a line has at most 4095 bytes and its end.
class LineDiscipline {
 public:
  static constexpr size_t kBufferSize = 4096;

  explicit LineDiscipline(TtyDriver& driver) : driver_(driver) {}
  LineDiscipline(const LineDiscipline&) = delete;

  const Termios& termios() const { return termios_; }
  void SetTermios(const Termios& termios);

  // Bytes from the line. Returns how many were taken: fewer when the buffer is full, unless it is
  // one endless line, whose last byte is replaced over and over.
  size_t Receive(std::span<const uint8_t> bytes);

  // Whether a read would find something; with kPoll as poll(2) asks, which knows VMIN.
  enum class Ask : uint8_t { kRead, kPoll };
  bool Readable(Ask ask) const;
  // At most one line in canonical mode (0 for VEOF), any bytes otherwise. EAGAIN when there is
  // none.
  Result<size_t> Read(std::span<uint8_t> dst);
  size_t InputCount() const;  // FIONREAD.
  void FlushInput();

  // Processes output; returns how many bytes were taken.
  size_t Write(std::span<const uint8_t> bytes);
  // Echoes that found no room. Call when there may be some.
  void FlushEchoes();
  size_t WriteRoom() const { return stopped_ ? 0 : driver_.Room(); }

  // TCXONC: by the program, or by characters from the line.
  enum class StoppedBy : uint8_t { kProgram, kLine };
  void Stop(StoppedBy by);
  void Start(StoppedBy by);
  // TCIOFF, TCION: the character goes out although output is stopped.
  void SendFlowCharacter(uint8_t c) { driver_.Put({reinterpret_cast<const char*>(&c), 1}); }

 private:
  bool In(uint32_t flag) const { return (termios_.iflag & flag) != 0; }
  bool Out(uint32_t flag) const { return (termios_.oflag & flag) != 0; }
  bool Local(uint32_t flag) const { return (termios_.lflag & flag) != 0; }
  // Line by line: with EXTPROC somebody outside has done that already.
  bool canonical() const { return Local(ICANON) && !Local(EXTPROC); }
  bool Is(uint8_t c, size_t which) const { return c != 0 && termios_.cc[which] == c; }
  bool IsContinuation(uint8_t c) const { return In(IUTF8) && (c & 0xc0) == 0x80; }
  uint8_t& At(size_t position) { return buffer_[position % kBufferSize]; }

  // line_discipline.cc
  void ReceiveByte(uint8_t c);
  void ReceiveOrdinary(uint8_t c);
  bool ReceiveFlowControl(uint8_t c);
  bool ReceiveSignal(uint8_t c);
  // The rest only in canonical mode; true when the character has been dealt with.
  bool ReceiveEditing(uint8_t c);
  bool ReceiveLineEnd(uint8_t c);
  void EndLine(uint8_t c);
  void Queue(uint8_t c);
  void QueueMarked(uint8_t c);  // With the doubling of PARMRK.
  void ResetInput();
  size_t ReadLine(std::span<uint8_t> dst);

  // line_editing.cc
  void Erase(uint8_t c);
  void EraseWhole(uint8_t c);
  void EchoErased(uint8_t c, uint8_t by, size_t position, size_t length);
  void EraseTabOnScreen(size_t position);
  void Reprint(uint8_t c);
  void FinishErasing();
  void Echo(uint8_t c);
  void EchoRaw(uint8_t c);
  void EchoInput(uint8_t c);  // As typed: remembers where the line began.
  void StepBack() { column_ -= column_ > 0 ? 1 : 0; }

  // line_output.cc
  // What `c` becomes (at most 8 bytes), appended to `out`. False, with nothing done, when it is
  // more than `room` bytes.
  bool Process(uint8_t c, size_t room, std::string& out);
  bool ProcessNewline(size_t room, std::string& out);
  bool ProcessReturn(std::string& out);
  bool ProcessTab(size_t room, std::string& out);

  TtyDriver& driver_;
  Termios termios_;

  // A ring; positions only grow. [tail, head) is what was typed, [tail, canon_head) complete lines,
  // whose last bytes have a bit in ends_.
  std::array<uint8_t, kBufferSize> buffer_;
  std::bitset<kBufferSize> ends_;
  size_t head_ = 0, tail_ = 0, canon_head_ = 0;
  bool literal_next_ = false;  // VLNEXT was typed.
  bool erasing_ = false;       // ECHOPRT: between \ and /.

  std::string echoes_;  // Processed, waiting for room.
  size_t column_ = 0, canon_column_ = 0;
  bool stopped_ = false, stopped_by_program_ = false;
};

}  // namespace sentry

#endif  // SENTRY_TTY_LINE_DISCIPLINE_H_
