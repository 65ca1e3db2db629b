// What the cases of inotify(7) share: an instance and its events as text.
#ifndef TESTS_CONFORMANCE_INOTIFY_SUPPORT_H_
#define TESTS_CONFORMANCE_INOTIFY_SUPPORT_H_

#include <sys/inotify.h>
#include <sys/ioctl.h>

#include <map>
#include <string>
#include <vector>

#include "tests/conformance/support.h"

namespace conformance {

inline std::string MaskName(uint32_t mask) {
  static const std::pair<uint32_t, const char*> kNames[] = {{IN_ACCESS, "ACCESS"},
                                                            {IN_MODIFY, "MODIFY"},
                                                            {IN_ATTRIB, "ATTRIB"},
                                                            {IN_CLOSE_WRITE, "CLOSE_WRITE"},
                                                            {IN_CLOSE_NOWRITE, "CLOSE_NOWRITE"},
                                                            {IN_OPEN, "OPEN"},
                                                            {IN_MOVED_FROM, "MOVED_FROM"},
                                                            {IN_MOVED_TO, "MOVED_TO"},
                                                            {IN_CREATE, "CREATE"},
                                                            {IN_DELETE, "DELETE"},
                                                            {IN_DELETE_SELF, "DELETE_SELF"},
                                                            {IN_MOVE_SELF, "MOVE_SELF"},
                                                            {IN_UNMOUNT, "UNMOUNT"},
                                                            {IN_Q_OVERFLOW, "Q_OVERFLOW"},
                                                            {IN_IGNORED, "IGNORED"},
                                                            {IN_ISDIR, "ISDIR"}};
  std::string text;
  for (const auto& [bit, name] : kNames) {
    if ((mask & bit) == 0) continue;
    if (!text.empty()) text += '|';
    text += name;
  }
  return text;
}

struct WatchEvent {
  int wd;
  uint32_t mask, cookie, length;
  std::string name;
};

class Inotify {
 public:
  explicit Inotify(int flags = IN_NONBLOCK) : fd_(inotify_init1(flags)) { EXPECT_GE(fd_.get(), 0); }
  int fd() const { return fd_.get(); }
  int Watch(const std::string& path, uint32_t mask) {
    return inotify_add_watch(fd_.get(), path.c_str(), mask);
  }
  // What is queued now.
  std::vector<WatchEvent> Take() {
    std::vector<WatchEvent> events;
    alignas(inotify_event) char buffer[16384];
    for (;;) {
      const ssize_t size = read(fd_.get(), buffer, sizeof buffer);
      if (size <= 0) return events;
      for (ssize_t at = 0; at < size;) {
        const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
        events.push_back({event->wd, event->mask, event->cookie, event->len,
                          event->len != 0 ? std::string(event->name) : std::string()});
        at += static_cast<ssize_t>(sizeof(inotify_event)) + event->len;
      }
    }
  }
  // Likewise, as "1:CREATE name", with the cookies of moves as "#1", "#2".
  std::vector<std::string> Events() {
    std::vector<std::string> texts;
    std::map<uint32_t, size_t> cookies;
    for (const WatchEvent& event : Take()) {
      std::string text = std::to_string(event.wd) + ":" + MaskName(event.mask);
      if (!event.name.empty()) text += " " + event.name;
      if (event.cookie != 0) {
        const size_t number = cookies.emplace(event.cookie, cookies.size() + 1).first->second;
        text += " #" + std::to_string(number);
      }
      texts.push_back(text);
    }
    return texts;
  }

 private:
  UniqueFd fd_;
};

}  // namespace conformance

#endif  // TESTS_CONFORMANCE_INOTIFY_SUPPORT_H_
