// Output: from the writer to the line (OPOST).
#include <algorithm>

#include "sentry/tty/latin1.h"
#include "sentry/tty/line_discipline.h"

namespace sentry {

size_t LineDiscipline::Write(std::span<const uint8_t> bytes) {
  FlushEchoes();
  if (!echoes_.empty()) return 0;  // They come first.
  size_t room = WriteRoom();
  if (!Out(OPOST)) {
    const size_t size = std::min(room, bytes.size());
    if (size > 0) driver_.Put({reinterpret_cast<const char*>(bytes.data()), size});
    return size;
  }
  std::string out;
  size_t taken = 0;
  while (taken < bytes.size() && room > out.size()) {
    if (!Process(bytes[taken], room - out.size(), out)) break;
    ++taken;
  }
  if (!out.empty()) driver_.Put(out);
  return taken;
}

bool LineDiscipline::Process(uint8_t c, size_t room, std::string& out) {
  switch (c) {
    case '\n':
      return ProcessNewline(room, out);
    case '\r':
      return ProcessReturn(out);
    case '\t':
      return ProcessTab(room, out);
    case '\b':
      StepBack();
      break;
    default:
      if (IsControl(c)) break;
      if (Out(OLCUC)) c = ToUpper(c);
      if (!IsContinuation(c)) ++column_;
  }
  out += static_cast<char>(c);
  return true;
}

bool LineDiscipline::ProcessNewline(size_t room, std::string& out) {
  if (Out(ONLCR)) {
    if (room < 2) return false;
    out += '\r';
    column_ = 0;
  } else if (Out(ONLRET)) {
    column_ = 0;
  }
  canon_column_ = column_;
  out += '\n';
  return true;
}

bool LineDiscipline::ProcessReturn(std::string& out) {
  if (Out(ONOCR) && column_ == 0) return true;  // Nothing to return from.
  if (Out(OCRNL)) {
    if (Out(ONLRET)) canon_column_ = column_ = 0;
    out += '\n';
    return true;
  }
  canon_column_ = column_ = 0;
  out += '\r';
  return true;
}

bool LineDiscipline::ProcessTab(size_t room, std::string& out) {
  const size_t spaces = 8 - column_ % 8;
  if ((termios_.oflag & TABDLY) != XTABS) {
    column_ += spaces;
    out += '\t';
    return true;
  }
  if (room < spaces) return false;
  column_ += spaces;
  out.append(spaces, ' ');
  return true;
}

}  // namespace sentry
