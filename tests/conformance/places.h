// The kinds of directories that cases about files run in: one case, several filesystems.
#ifndef TESTS_CONFORMANCE_PLACES_H_
#define TESTS_CONFORMANCE_PLACES_H_

#include <string>
#include <vector>

#include "tests/conformance/support.h"

namespace conformance {

// kRoot: /var/tmp, on the root file system (natively a disk's, inside the overlay in memory).
// kTmpfs: the first tmpfs among /tmp and /dev/shm.
// kOverlay: an overlayfs over two tmpfs directories, made in a mount namespace of this process. Not
// for users who may not mount, nor where overlays cannot be mounted.
// kVolume: $CONFORMANCE_VOLUME, which run.py makes: a directory of the host, shared with the
// sandbox.
enum class Place { kRoot, kTmpfs, kOverlay, kVolume };

// Those that exist here.
const std::vector<Place>& Places();
std::string DirectoryOf(Place place);
// "root", "tmpfs", "overlay", "volume".
std::string NameOf(Place place);

// A case that makes its files (TempDir, OpenTemp) in a place. Other members come after, so that
// they are made there as well.
class AtPlace : public testing::TestWithParam<Place> {
 protected:
  AtPlace();
  ~AtPlace() override;

  Place place() const { return GetParam(); }
  // f_type of statfs(2) there.
  static int64_t MagicOf(const std::string& path);

 private:
  std::string before_;
};

// For suites with a class of their own.
#define AT_EACH_PLACE(name)                                     \
  INSTANTIATE_TEST_SUITE_P(, name, testing::ValuesIn(Places()), \
                           [](const auto& info) { return NameOf(info.param); })
// For the others.
#define PLACE_SUITE(name)         \
  class name : public AtPlace {}; \
  AT_EACH_PLACE(name)

}  // namespace conformance

#endif  // TESTS_CONFORMANCE_PLACES_H_
