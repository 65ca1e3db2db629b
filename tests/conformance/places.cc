#include "tests/conformance/places.h"

#include <linux/magic.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

namespace conformance {
namespace {

constexpr char kVolumeVariable[] = "CONFORMANCE_VOLUME";
constexpr char kDirectoryVariable[] = "CONFORMANCE_DIR";
// On a tmpfs over /mnt that only this process sees.
constexpr char kOverlayDirectory[] = "/mnt/merged";

int64_t Magic(const char* path) {
  struct statfs fs = {};
  return statfs(path, &fs) == 0 ? fs.f_type : 0;
}

const char* TmpfsDirectory() {
  for (const char* path : {"/tmp", "/dev/shm"}) {
    if (Magic(path) == TMPFS_MAGIC) return path;
  }
  return nullptr;
}

bool MountOverlay() {
  if (unshare(CLONE_NEWNS) != 0) return false;
  if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return false;
  if (mount("conformance", "/mnt", "tmpfs", 0, "mode=755") != 0) return false;
  for (const char* path : {"/mnt/lower", "/mnt/upper", "/mnt/work", kOverlayDirectory}) {
    mkdir(path, 0755);
    chmod(path, 01777);
  }
  const char* const options = "lowerdir=/mnt/lower,upperdir=/mnt/upper,workdir=/mnt/work";
  if (mount("conformance", kOverlayDirectory, "overlay", 0, options) == 0) return true;
  umount("/mnt");
  return false;
}

std::vector<Place> Probe() {
  std::vector<Place> places = {Place::kRoot};
  if (TmpfsDirectory() != nullptr) places.push_back(Place::kTmpfs);
  if (MountOverlay()) places.push_back(Place::kOverlay);
  if (getenv(kVolumeVariable) != nullptr) places.push_back(Place::kVolume);
  return places;
}

}  // namespace

const std::vector<Place>& Places() {
  static const std::vector<Place>& places = *new std::vector<Place>(Probe());
  return places;
}

std::string DirectoryOf(Place place) {
  switch (place) {
    case Place::kRoot:
      return "/var/tmp";
    case Place::kTmpfs:
      return TmpfsDirectory();
    case Place::kOverlay:
      return kOverlayDirectory;
    case Place::kVolume:
      return getenv(kVolumeVariable);
  }
  return "";
}

std::string NameOf(Place place) {
  switch (place) {
    case Place::kRoot:
      return "root";
    case Place::kTmpfs:
      return "tmpfs";
    case Place::kOverlay:
      return "overlay";
    case Place::kVolume:
      return "volume";
  }
  return "";
}

AtPlace::AtPlace() {
  const char* const before = getenv(kDirectoryVariable);
  before_ = before != nullptr ? before : "/tmp";
  setenv(kDirectoryVariable, DirectoryOf(GetParam()).c_str(), 1);
}

AtPlace::~AtPlace() { setenv(kDirectoryVariable, before_.c_str(), 1); }

int64_t AtPlace::MagicOf(const std::string& path) { return Magic(path.c_str()); }

}  // namespace conformance
