#include "runsc/commands/options.h"

#include <string_view>

#include "absl/strings/str_cat.h"

namespace runsc {

namespace {

const OptionName* Find(std::span<const OptionName> names, std::string_view text) {
  for (const OptionName& row : names) {
    if (text == row.name || (row.short_name != nullptr && text == row.short_name)) return &row;
  }
  return nullptr;
}

}  // namespace

std::string Options::Get(const std::string& name, const std::string& otherwise) const {
  const auto found = values.find(name);
  return found == values.end() ? otherwise : found->second;
}

absl::StatusOr<Options> ParseOptions(const char* command, std::span<const OptionName> names,
                                     std::span<char* const> args) {
  Options options;
  const auto fail = [&](const std::string& why) {
    return absl::InvalidArgumentError(absl::StrCat(command, ": ", why));
  };
  for (size_t at = 0; at < args.size(); ++at) {
    std::string_view text = args[at];
    if (text == "--") {
      options.others.insert(options.others.end(), args.begin() + at + 1, args.end());
      break;
    }
    // A dash alone is standard input.
    if (text.size() < 2 || text[0] != '-') {
      options.others.emplace_back(text);
      continue;
    }
    text.remove_prefix(text.starts_with("--") ? 2 : 1);
    const size_t equals = text.find('=');
    const OptionName* name = Find(names, text.substr(0, equals));
    if (name == nullptr) return fail(absl::StrCat("unknown flag ", args[at]));
    std::string value = "true";
    if (equals != text.npos) {
      value = std::string(text.substr(equals + 1));
    } else if (name->takes_value) {
      if (++at == args.size()) return fail(absl::StrCat("--", name->name, " wants a value"));
      value = args[at];
    }
    if (!name->takes_value && value == "false") continue;
    options.values[name->name] = std::move(value);
  }
  return options;
}

}  // namespace runsc
