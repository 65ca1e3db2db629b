#include "runsc/flags.h"

#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace runsc {

namespace {

// An argument taken apart.
struct Argument {
  std::string name;  // Without dashes.
  std::string value;
  bool has_value = false;
};

Argument Split(std::string_view text) {
  text.remove_prefix(text.starts_with("--") ? 2 : 1);
  const size_t equals = text.find('=');
  if (equals == text.npos) return {.name = std::string(text)};
  return {.name = std::string(text.substr(0, equals)),
          .value = std::string(text.substr(equals + 1)),
          .has_value = true};
}

const Flag* Find(std::span<const Flag> flags, const std::string& name) {
  for (const Flag& flag : flags) {
    if (name == flag.name) return &flag;
  }
  return nullptr;
}

absl::Status Failure(const Flag& flag, const std::string& why) {
  return absl::InvalidArgumentError(absl::StrCat("--", flag.name, ": ", why));
}

}  // namespace

absl::StatusOr<size_t> ApplyFlags(std::span<const Flag> flags, std::span<char* const> args,
                                  Config& config) {
  size_t at = 0;
  while (at < args.size()) {
    const std::string_view text = args[at];
    if (text == "--") return at + 1;
    if (text.size() < 2 || text[0] != '-') return at;
    ++at;
    Argument argument = Split(text);
    const Flag* flag = Find(flags, argument.name);
    if (flag == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat("unknown flag ", std::string(text)));
    }
    if (flag->value == nullptr) {
      if (!argument.has_value) argument.value = "true";
      if (argument.value != "true" && argument.value != "false") {
        return Failure(*flag, absl::StrCat(argument.value, " is neither true nor false"));
      }
    } else if (!argument.has_value) {
      if (at == args.size()) return Failure(*flag, absl::StrCat("wants a value, ", flag->value));
      argument.value = args[at++];
    }
    const absl::Status status = flag->apply(config, argument.value);
    if (!status.ok()) return Failure(*flag, std::string(status.message()));
  }
  return at;
}

std::string DescribeFlags(std::span<const Flag> flags) {
  std::string text;
  for (const Flag& flag : flags) {
    const std::string name = absl::StrCat("--", flag.name, flag.value == nullptr ? "" : " ",
                                          flag.value == nullptr ? "" : flag.value);
    absl::StrAppendFormat(&text, "  %-24s %s\n", name, flag.help);
  }
  return text;
}

}  // namespace runsc
