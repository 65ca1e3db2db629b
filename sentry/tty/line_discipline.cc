// Input: from the line to the reader.
#include "sentry/tty/line_discipline.h"

#include <signal.h>
#include <sys/ioctl.h>

#include <algorithm>

#include "sentry/tty/latin1.h"

namespace sentry {

void LineDiscipline::SetTermios(const Termios& termios) {
  const Termios old = termios_;
  termios_ = termios;
  if (((old.lflag ^ termios.lflag) & (ICANON | EXTPROC)) != 0) {
    ends_.reset();
    canon_head_ = tail_;
    if (Local(ICANON) && head_ != tail_) {
      // What is there becomes a line, so that it can be read.
      ends_.set((head_ - 1) % kBufferSize);
      canon_head_ = head_;
    }
    erasing_ = false;
    literal_next_ = false;
  }
  // Nobody could type VSTART any more.
  if (!In(IXON) && (old.iflag & IXON) != 0 && !stopped_by_program_) Start(StoppedBy::kLine);
}

size_t LineDiscipline::Receive(std::span<const uint8_t> bytes) {
  size_t taken = 0;
  while (taken < bytes.size()) {
    size_t room = kBufferSize - (head_ - tail_);
    if (In(PARMRK)) room = (room + 2) / 3;
    if (room <= 1) {
      // One byte may be added to a line without an end, in place of the last one.
      const bool endless = Local(ICANON) && canon_head_ == tail_;
      if (!endless) break;
      if (room == 0) --head_;
    }
    ReceiveByte(bytes[taken++]);
  }
  return taken;
}

void LineDiscipline::ReceiveByte(uint8_t c) {
  if (In(ISTRIP)) c &= 0x7f;
  if (In(IUCLC) && Local(IEXTEN)) c = ToLower(c);
  if (literal_next_) {
    literal_next_ = false;
    ReceiveOrdinary(c);
    return;
  }
  if (Local(EXTPROC)) {
    Queue(c);
    return;
  }
  if (In(IXON) && ReceiveFlowControl(c)) return;
  if (Local(ISIG) && ReceiveSignal(c)) return;
  if (stopped_ && !stopped_by_program_ && In(IXON) && In(IXANY)) Start(StoppedBy::kLine);
  const uint8_t typed = c;
  if (c == '\r') {
    if (In(IGNCR)) return;
    if (In(ICRNL)) c = '\n';
  } else if (c == '\n' && In(INLCR)) {
    c = '\r';
  }
  if (Local(ICANON) && (ReceiveEditing(c) || ReceiveLineEnd(c))) return;
  if (Local(ECHO) && c == '\n' && c != typed) {
    // From a return; a newline that was typed as such shows as ^J outside canonical mode.
    FinishErasing();
    EchoRaw('\n');
    FlushEchoes();
  } else if (Local(ECHO)) {
    EchoInput(c);
  }
  QueueMarked(c);
}

void LineDiscipline::ReceiveOrdinary(uint8_t c) {
  if (stopped_ && !stopped_by_program_ && In(IXON) && In(IXANY)) Start(StoppedBy::kLine);
  if (Local(ECHO)) EchoInput(c);
  QueueMarked(c);
}

bool LineDiscipline::ReceiveFlowControl(uint8_t c) {
  if (Is(c, VSTART)) {
    Start(StoppedBy::kLine);
    FlushEchoes();
    return true;
  }
  if (!Is(c, VSTOP)) return false;
  Stop(StoppedBy::kLine);
  return true;
}

bool LineDiscipline::ReceiveSignal(uint8_t c) {
  const int sig = Is(c, VINTR) ? SIGINT : Is(c, VQUIT) ? SIGQUIT : Is(c, VSUSP) ? SIGTSTP : 0;
  if (sig == 0) return false;
  driver_.RaiseSignal(sig);
  if (!Local(NOFLSH)) {
    echoes_.clear();
    driver_.FlushOutput();
    ResetInput();
    driver_.TellStatus(TIOCPKT_FLUSHREAD, 0);
  }
  if (In(IXON)) Start(StoppedBy::kLine);
  if (Local(ECHO)) Echo(c);
  FlushEchoes();
  return true;
}

bool LineDiscipline::ReceiveEditing(uint8_t c) {
  const bool extended = Local(IEXTEN);
  if (Is(c, VERASE) || Is(c, VKILL) || (extended && Is(c, VWERASE))) {
    Erase(c);
    FlushEchoes();
    return true;
  }
  if (extended && Is(c, VLNEXT)) {
    literal_next_ = true;
    if (!Local(ECHO)) return true;
    FinishErasing();
    if (Local(ECHOCTL)) {
      EchoRaw('^');
      EchoRaw('\b');
      FlushEchoes();
    }
    return true;
  }
  if (!extended || !Local(ECHO) || !Is(c, VREPRINT)) return false;
  Reprint(c);
  FlushEchoes();
  return true;
}

bool LineDiscipline::ReceiveLineEnd(uint8_t c) {
  if (c == '\n') {
    if (Local(ECHO) || Local(ECHONL)) {
      EchoRaw('\n');
      FlushEchoes();
    }
    EndLine(c);
    return true;
  }
  if (Is(c, VEOF)) {
    EndLine(0);  // A reader sees the bytes before it only.
    return true;
  }
  if (!Is(c, VEOL) && !(Local(IEXTEN) && Is(c, VEOL2))) return false;
  if (Local(ECHO)) {
    if (canon_head_ == head_) canon_column_ = column_;
    Echo(c);
    FlushEchoes();
  }
  if (c == 0xff && In(PARMRK)) Queue(c);
  EndLine(c);
  return true;
}

void LineDiscipline::EndLine(uint8_t c) {
  ends_.set(head_ % kBufferSize);
  Queue(c);
  canon_head_ = head_;
}

void LineDiscipline::Queue(uint8_t c) {
  if (head_ - tail_ == kBufferSize) --head_;  // PARMRK doubles bytes.
  At(head_) = c;
  ++head_;
}

void LineDiscipline::QueueMarked(uint8_t c) {
  if (c == 0xff && In(PARMRK)) Queue(c);
  Queue(c);
}

bool LineDiscipline::Readable(Ask ask) const {
  if (canonical()) return canon_head_ != tail_;
  const uint8_t minimum = termios_.cc[VMIN];
  const bool by_count = ask == Ask::kPoll && termios_.cc[VTIME] == 0 && minimum != 0;
  return head_ - tail_ >= (by_count ? minimum : size_t{1});
}

Result<size_t> LineDiscipline::Read(std::span<uint8_t> dst) {
  if (!Readable(Ask::kRead)) return Errno(EAGAIN);
  if (canonical()) return ReadLine(dst);
  const size_t count = std::min(dst.size(), head_ - tail_);
  for (size_t i = 0; i < count; ++i) dst[i] = At(tail_ + i);
  tail_ += count;
  // Nothing is left of a line that was being edited.
  if (canon_head_ < tail_) canon_head_ = tail_;
  return count;
}

size_t LineDiscipline::ReadLine(std::span<uint8_t> dst) {
  size_t count = 0;
  while (count < dst.size() && tail_ != canon_head_) {
    const size_t place = tail_ % kBufferSize;
    const uint8_t c = At(tail_++);
    const bool last = ends_.test(place);
    ends_.reset(place);
    if (last && c == 0) return count;
    dst[count++] = c;
    if (last) return count;
  }
  // A VEOF right behind a read that it filled is not another, empty, read.
  const size_t place = tail_ % kBufferSize;
  if (count > 0 && tail_ != canon_head_ && ends_.test(place) && At(tail_) == 0) {
    ends_.reset(place);
    ++tail_;
  }
  return count;
}

size_t LineDiscipline::InputCount() const {
  if (!canonical()) return head_ - tail_;
  size_t count = 0;
  for (size_t at = tail_; at != canon_head_; ++at) {
    const size_t place = at % kBufferSize;
    if (!ends_.test(place) || buffer_[place] != 0) ++count;
  }
  return count;
}

void LineDiscipline::ResetInput() {
  head_ = tail_ = canon_head_ = 0;
  ends_.reset();
  literal_next_ = erasing_ = false;
}

void LineDiscipline::FlushInput() {
  ResetInput();
  driver_.TellStatus(TIOCPKT_FLUSHREAD, 0);
}

void LineDiscipline::Stop(StoppedBy by) {
  if (by == StoppedBy::kProgram) {
    if (stopped_by_program_) return;
    stopped_by_program_ = true;
  }
  if (stopped_) return;
  stopped_ = true;
  driver_.TellStatus(TIOCPKT_STOP, TIOCPKT_START);
}

void LineDiscipline::Start(StoppedBy by) {
  if (by == StoppedBy::kProgram) {
    if (!stopped_by_program_) return;
    stopped_by_program_ = false;
  }
  if (!stopped_ || stopped_by_program_) return;
  stopped_ = false;
  driver_.TellStatus(TIOCPKT_START, TIOCPKT_STOP);
  FlushEchoes();
}

}  // namespace sentry
