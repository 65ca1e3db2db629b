// Two pages, the second one without access.
#ifndef TESTS_CONFORMANCE_EDGE_H_
#define TESTS_CONFORMANCE_EDGE_H_

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <string>

class Edge {
 public:
  static constexpr size_t kPage = 4096;

  Edge() {
    void* map =
        mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT_NE(map, MAP_FAILED);
    start_ = static_cast<char*>(map);
    EXPECT_EQ(mprotect(start_ + kPage, kPage, PROT_NONE), 0);
  }
  ~Edge() { munmap(start_, 2 * kPage); }
  char* start() const { return start_; }
  // Of what can be accessed.
  char* end() const { return start_ + kPage; }
  // `text` with its NUL, so that what follows cannot be read.
  char* Last(const std::string& text) const {
    return static_cast<char*>(memcpy(end() - text.size() - 1, text.c_str(), text.size() + 1));
  }

 private:
  char* start_;
};

#endif  // TESTS_CONFORMANCE_EDGE_H_
