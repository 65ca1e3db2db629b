// Echo, and the characters that take back what was typed.
#include <algorithm>

#include "sentry/tty/latin1.h"
#include "sentry/tty/line_discipline.h"

namespace sentry {
namespace {

// Beyond that the oldest echoes are lost (Linux's echo buffer).
constexpr size_t kMaxEchoes = 4096;

}  // namespace

void LineDiscipline::EchoRaw(uint8_t c) {
  if (Out(OPOST)) {
    (void)Process(c, SIZE_MAX, echoes_);
  } else {
    echoes_.push_back(static_cast<char>(c));
  }
  if (echoes_.size() > kMaxEchoes) echoes_.erase(0, echoes_.size() - kMaxEchoes);
}

void LineDiscipline::Echo(uint8_t c) {
  if (Local(ECHOCTL) && IsControl(c) && c != '\t') {
    echoes_ += '^';
    echoes_ += static_cast<char>(c ^ 0100);
    column_ += 2;
    return;
  }
  EchoRaw(c);
}

void LineDiscipline::EchoInput(uint8_t c) {
  FinishErasing();
  if (canon_head_ == head_) canon_column_ = column_;
  Echo(c);
  FlushEchoes();
}

void LineDiscipline::FlushEchoes() {
  const size_t size = std::min(echoes_.size(), WriteRoom());
  if (size == 0) return;
  driver_.Put(std::string_view(echoes_).substr(0, size));
  echoes_.erase(0, size);
}

void LineDiscipline::FinishErasing() {
  if (!erasing_) return;
  EchoRaw('/');
  erasing_ = false;
}

void LineDiscipline::Reprint(uint8_t c) {
  FinishErasing();
  Echo(c);
  EchoRaw('\n');
  for (size_t at = canon_head_; at != head_; ++at) Echo(At(at));
}

// VKILL where it does not erase on the screen.
void LineDiscipline::EraseWhole(uint8_t c) {
  head_ = canon_head_;
  if (!Local(ECHO)) return;
  FinishErasing();
  Echo(c);
  if (Local(ECHOK)) EchoRaw('\n');
}

void LineDiscipline::Erase(uint8_t c) {
  if (head_ == canon_head_) return;
  const bool one = Is(c, VERASE), word = !one && Is(c, VWERASE);
  const bool visibly = Local(ECHO) && Local(ECHOK) && Local(ECHOKE) && Local(ECHOE);
  if (!one && !word && !visibly) {
    EraseWhole(c);
    return;
  }
  bool seen_word = false;
  while (head_ != canon_head_) {
    // One character, which may have several bytes.
    size_t start = head_ - 1;
    while (IsContinuation(At(start)) && start != canon_head_) --start;
    const uint8_t erased = At(start);
    if (IsContinuation(erased)) break;  // Its beginning has been read: not by halves.
    if (word) {
      const bool part = IsAlnum(erased) || erased == '_';
      if (!part && seen_word) break;
      seen_word |= part;
    }
    const size_t length = head_ - start;
    head_ = start;
    if (Local(ECHO)) EchoErased(erased, one ? c : 0, start, length);
    if (one) break;
  }
  if (head_ == canon_head_ && Local(ECHO)) FinishErasing();
}

// `by` is VERASE, or 0 for the others, which erase more than one character.
void LineDiscipline::EchoErased(uint8_t c, uint8_t by, size_t position, size_t length) {
  if (Local(ECHOPRT)) {
    if (!erasing_) EchoRaw('\\');
    erasing_ = true;
    Echo(c);
    for (size_t i = 1; i < length; ++i) {
      EchoRaw(At(position + i));
      StepBack();
    }
  } else if (by != 0 && !Local(ECHOE)) {
    Echo(by);
  } else if (c == '\t') {
    EraseTabOnScreen(position);
  } else {
    const int columns = !IsControl(c) ? 1 : Local(ECHOCTL) ? 2 : 0;
    for (int i = 0; i < columns; ++i) {
      for (const char step : {'\b', ' ', '\b'}) EchoRaw(static_cast<uint8_t>(step));
    }
  }
}

// Back over as many columns as the tab at `position` had, which depends on what stands before it:
// since the last tab, or since the line began.
void LineDiscipline::EraseTabOnScreen(size_t position) {
  size_t columns = 0;
  bool after_tab = false;
  for (size_t at = position; at != canon_head_ && !after_tab;) {
    const uint8_t c = At(--at);
    if (c == '\t') {
      after_tab = true;
    } else if (IsControl(c)) {
      columns += Local(ECHOCTL) ? 2 : 0;
    } else if (!IsContinuation(c)) {
      ++columns;
    }
  }
  if (!after_tab) columns += canon_column_;
  for (size_t left = 8 - columns % 8; left > 0; --left) {
    echoes_ += '\b';
    StepBack();
  }
}

}  // namespace sentry
