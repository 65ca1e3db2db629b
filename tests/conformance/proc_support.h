// How the cases about procfs read its files.
#ifndef TESTS_CONFORMANCE_PROC_SUPPORT_H_
#define TESTS_CONFORMANCE_PROC_SUPPORT_H_

#include <dirent.h>
#include <grp.h>

#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "tests/conformance/support.h"

namespace conformance {

inline std::string ProcPath(pid_t pid, std::string_view name) {
  return "/proc/" + std::to_string(pid) + "/" + std::string(name);
}
inline std::string Proc(pid_t pid, std::string_view name) { return ReadFile(ProcPath(pid, name)); }
inline std::string Self(std::string_view name) {
  return ReadFile("/proc/self/" + std::string(name));
}

// The same where the file may be gone, or not for us: what there is to read, if anything.
inline std::string TryRead(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY));
  std::string text;
  char piece[1024];
  for (ssize_t n; fd.valid() && (n = read(fd.get(), piece, sizeof piece)) > 0;) {
    text.append(piece, static_cast<size_t>(n));
  }
  return text;
}

// What follows "Name:" in a file like status, without the blanks around it; "(none)" without it.
inline std::string Field(const std::string& text, const std::string& name) {
  const size_t at = ("\n" + text).find("\n" + name + ":");
  if (at == std::string::npos) return "(none)";
  const size_t begin = text.find_first_not_of(" \t", at + name.size() + 1);
  const size_t end = text.find('\n', at);
  if (begin >= end) return "";
  std::string value = text.substr(begin, end - begin);
  while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) value.pop_back();
  return value;
}
inline uint64_t NumberField(const std::string& text, const std::string& name, int base = 10) {
  return strtoull(Field(text, name).c_str(), nullptr, base);
}

// The fields of stat by their numbers in proc_pid_stat(5); 1 and 2 are pid and "(comm)".
inline std::vector<std::string> StatFields(const std::string& text) {
  std::vector<std::string> fields = {"", text.substr(0, text.find(' '))};
  const size_t open = text.find('('), close = text.rfind(')');
  if (close == std::string::npos) return std::vector<std::string>(53);
  fields.push_back(text.substr(open, close - open + 1));
  std::istringstream rest(text.substr(close + 2));
  for (std::string word; rest >> word;) fields.push_back(word);
  return fields;
}

inline std::set<std::string> Names(const std::string& directory) {
  std::set<std::string> names;
  if (DIR* dir = opendir(directory.c_str())) {
    while (const dirent* entry = readdir(dir)) names.insert(entry->d_name);
    closedir(dir);
  }
  return names;
}

inline std::string LinkTarget(const std::string& path) {
  char target[4096];
  const ssize_t n = readlink(path.c_str(), target, sizeof target);
  return n < 0 ? "!" + ErrnoName(errno) : std::string(target, n);
}

// Writes a text in one call; -1 with errno when opening or writing fails.
inline ssize_t WriteTo(const std::string& path, std::string_view text) {
  const int fd = open(path.c_str(), O_WRONLY);
  if (fd < 0) return -1;
  const ssize_t n = write(fd, text.data(), text.size());
  const int error = errno;
  close(fd);
  errno = error;
  return n;
}

// One mapping of maps.
struct Mapping {
  uint64_t begin = 0, end = 0, offset = 0, ino = 0;
  unsigned dev_major = 0, dev_minor = 0;
  std::string permissions, name;
};
inline std::vector<Mapping> ParseMaps(const std::string& text) {
  std::vector<Mapping> all;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    Mapping m;
    char permissions[8] = {};
    int behind = 0;
    if (sscanf(line.c_str(), "%lx-%lx %7s %lx %x:%x %lu %n", &m.begin, &m.end, permissions,
               &m.offset, &m.dev_major, &m.dev_minor, &m.ino, &behind) < 7) {
      continue;
    }
    m.permissions = permissions;
    m.name = line.substr(behind);
    all.push_back(m);
  }
  return all;
}
inline Mapping MappingOf(const std::string& maps, const void* address) {
  const uint64_t wanted = reinterpret_cast<uint64_t>(address);
  for (const Mapping& m : ParseMaps(maps)) {
    if (m.begin <= wanted && wanted < m.end) return m;
  }
  return {};
}

// A child that sleeps until the object goes.
class Sleeper {
 public:
  template <typename Prepare>
  explicit Sleeper(Prepare prepare) {
    pid_ = Start([&] {
      ready_.read.reset();
      prepare();
      Post(ready_.write.get());
      for (;;) pause();
      return 0;
    });
    ready_.write.reset();
    EXPECT_TRUE(Await(ready_.read.get()));
  }
  Sleeper() : Sleeper([] {}) {}
  Sleeper(const Sleeper&) = delete;
  ~Sleeper() {
    if (pid_ > 0) End();
  }
  // Kills it without reaping: a zombie once this returns.
  void Kill() {
    kill(pid_, SIGKILL);
    siginfo_t info;
    waitid(P_PID, pid_, &info, WEXITED | WNOWAIT);
  }
  void End() {
    kill(pid_, SIGKILL);
    Wait(pid_);
    pid_ = 0;
  }
  pid_t pid() const { return pid_; }

 private:
  Pipe ready_;
  pid_t pid_ = 0;
};

// Runs `body` in a child as an ordinary user.
template <typename Body>
int AsNobody(Body body) {
  return InChild([&] {
    CHILD_CHECK(setgroups(0, nullptr) == 0);
    CHILD_CHECK(setresgid(65534, 65534, 65534) == 0);
    CHILD_CHECK(setresuid(65534, 65534, 65534) == 0);
    return body();
  });
}

}  // namespace conformance

#endif  // TESTS_CONFORMANCE_PROC_SUPPORT_H_
