// Every call that takes a path, in one list: what holds for paths is asserted for each of them.
#ifndef TESTS_CONFORMANCE_FILES_CALLS_H_
#define TESTS_CONFORMANCE_FILES_CALLS_H_

#include <functional>
#include <string>
#include <tuple>
#include <vector>

#include "tests/conformance/places.h"

namespace conformance {

struct PathCall {
  const char* name;  // Part of the case's name.
  // The raw result. `dir` has a file "other" and an empty directory "spare" for calls with two
  // paths.
  std::function<long(const std::string& dir, const std::string& path)> run;
};

const std::vector<PathCall>& PathCalls();

// "ok" or the errno's name.
std::string ResultOf(long result);

// A directory with one entry of each kind:
//   f "data", d/ with d/inner, e/ empty, p a fifo, lf -> f, ld -> d, ln -> none (dangling),
//   ll -> ll (a loop), other "other", spare/ empty.
void MakeTree(const std::string& dir);

// A suite over Places() × PathCalls(). Run() makes a fresh tree for each path, which may have @ for
// the directory, and returns the results in one line.
class ByCall : public testing::TestWithParam<std::tuple<Place, size_t>> {
 protected:
  ByCall();
  ~ByCall() override;
  const PathCall& call() const { return PathCalls()[std::get<1>(GetParam())]; }
  Place place() const { return std::get<0>(GetParam()); }
  std::string Run(const std::vector<std::string>& paths) const;
  // One after the other in a child, where `prepare` has been called; `dir` stays as it is.
  std::string RunInChild(const std::string& dir, const std::vector<std::string>& paths,
                         const std::function<bool()>& prepare) const;

 private:
  std::string before_;
};

std::string NameOfCall(const testing::TestParamInfo<std::tuple<Place, size_t>>& info);

// What each call answers, by its name.
struct Expected {
  const char* name;
  const char* results;
};
// The results of `call` in `table`; fails when it has no row.
std::string ExpectedOf(const PathCall& call, const std::vector<Expected>& table);

#define FOR_EACH_CALL(suite)                                                                \
  class suite : public ByCall {};                                                           \
  INSTANTIATE_TEST_SUITE_P(, suite,                                                         \
                           testing::Combine(testing::ValuesIn(Places()),                    \
                                            testing::Range<size_t>(0, PathCalls().size())), \
                           NameOfCall)

}  // namespace conformance

#endif  // TESTS_CONFORMANCE_FILES_CALLS_H_
