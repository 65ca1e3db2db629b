#include "sentry/fs/overlayfs/options.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace sentry {

namespace {

constexpr size_t kMostLayers = 500;  // OVL_MAX_STACK of Linux.

struct Setting {
  std::string_view name;
  std::string_view value;  // Empty: a flag.
};

// What can be said besides the layers. Everything here is how this overlay is anyway: unions of
// directories by name, whole copies, numbers of files as they were.
constexpr Setting kSettings[] = {{"index", "off"},        {"metacopy", "off"},
                                 {"redirect_dir", "off"}, {"redirect_dir", "follow"},
                                 {"nfs_export", "off"},   {"redirect_dir", "nofollow"},
                                 {"xino", "off"},         {"xino", "auto"},
                                 {"xino", "on"},          {"uuid", "null"},
                                 {"uuid", "off"},         {"uuid", "auto"},
                                 {"verity", "off"},       {"volatile", ""},
                                 {"userxattr", ""},       {"default_permissions", ""}};

bool IsLayer(std::string_view name) {
  return name == "lowerdir" || name == "lowerdir+" || name == "upperdir" || name == "workdir";
}

std::string Unescape(std::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) ++i;
    plain.push_back(text[i]);
  }
  return plain;
}

// As seq_show_option() of the kernel writes the value of an option.
std::string Shown(std::string_view value) {
  std::string text;
  for (const char c : value) {
    if (c == ',' || c == ' ' || c == '\t' || c == '\n' || c == '\\') {
      absl::StrAppendFormat(&text, "\\%03o", static_cast<unsigned>(c));
    } else {
      text += c;
    }
  }
  return text;
}

// Where `stop` comes next, not counting escaped ones.
size_t FindPlain(std::string_view text, char stop) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == stop) return i;
    if (text[i] == '\\') ++i;
  }
  return text.size();
}

Status AddLower(std::string_view list, std::vector<std::string>& layers) {
  for (;;) {
    const size_t end = FindPlain(list, ':');
    // Two colons would begin layers of data only, which are for metacopy.
    if (end == 0 || layers.size() == kMostLayers) return Errno(EINVAL);
    layers.push_back(Unescape(list.substr(0, end)));
    if (end == list.size()) return kOk;
    list.remove_prefix(end + 1);
  }
}

}  // namespace

MountOptions SplitOverlayfsOptions(std::string_view text) {
  MountOptions options;
  while (!text.empty()) {
    const std::string_view one = text.substr(0, FindPlain(text, ','));
    text.remove_prefix(std::min(one.size() + 1, text.size()));
    if (one.empty()) continue;
    options.push_back(ParseMountOption(one));
  }
  return options;
}

Status CheckOverlayfsOption(const MountOption& option) {
  if (IsLayer(option.name)) return option.value ? Status(kOk) : Errno(EINVAL);
  const bool known =
      std::any_of(std::begin(kSettings), std::end(kSettings), [&option](const Setting& setting) {
        return setting.name == option.name && option.value.has_value() == !setting.value.empty() &&
               option.value.value_or("") == setting.value;
      });
  return known ? Status(kOk) : Errno(EINVAL);
}

Result<OverlayfsOptions> ParseOverlayfsOptions(const MountOptions& options) {
  OverlayfsOptions parsed;
  std::string lower, upper, work, settings;  // As they are shown.
  for (const MountOption& option : options) {
    TRY(CheckOverlayfsOption(option));
    const std::string value = option.value.value_or("");
    if (option.name == "lowerdir") {
      parsed.lower.clear();
      TRY(AddLower(value, parsed.lower));
      lower = absl::StrCat(",lowerdir=", Shown(value));
    } else if (option.name == "lowerdir+") {
      if (value.empty() || parsed.lower.size() == kMostLayers) return Errno(EINVAL);
      parsed.lower.push_back(value);
      absl::StrAppend(&lower, ",lowerdir+=", Shown(value));
    } else if (option.name == "upperdir") {
      parsed.upper = Unescape(value);
      upper = Shown(value);
    } else if (option.name == "workdir") {
      parsed.work = Unescape(value);
      work = Shown(value);
    } else if (option.name == "userxattr") {
      parsed.user_xattr = true;
      settings += ",userxattr";
    } else if (option.name == "volatile") {
      settings += ",fsync=volatile";
    }
  }
  if (parsed.lower.empty()) return Errno(EINVAL);
  if (!parsed.upper.empty() && parsed.work.empty()) return Errno(EINVAL);
  // Something to lay over is wanted.
  if (parsed.upper.empty() && parsed.lower.size() < 2) return Errno(EINVAL);
  if (parsed.upper.empty()) parsed.work.clear();
  parsed.shown = lower;
  if (!parsed.upper.empty()) {
    absl::StrAppend(&parsed.shown, ",upperdir=", upper, ",workdir=", work);
  }
  parsed.shown += settings;
  return parsed;
}

}  // namespace sentry
