#include "runsc/spec/reader.h"

#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace runsc::spec {

using nlohmann::json;

bool Reader::present() const { return value_ != nullptr; }

void Reader::Fail(std::string_view why) const {
  if (!failure_->ok()) return;
  std::string message = absl::StrCat(path_, path_.empty() ? "" : ": ", std::string(why));
  // One line, whatever the text holds.
  for (char& c : message) c = absl::ascii_iscntrl(static_cast<unsigned char>(c)) ? '?' : c;
  *failure_ = absl::InvalidArgumentError(message);
}

void Reader::WrongType(const char* wanted) const {
  Fail(absl::StrCat("is ", value_->type_name(), ", not ", wanted));
}

Reader Reader::operator[](const char* name) const {
  ExpectObject();
  std::string path = absl::StrCat(path_, path_.empty() ? "" : ".", name);
  const json* field = nullptr;
  if (value_ != nullptr && value_->is_object()) {
    const auto found = value_->find(name);
    // Go's writers say null where they mean absent.
    if (found != value_->end() && !found->is_null()) field = &*found;
  }
  return Reader(field, std::move(path), failure_);
}

void Reader::ExpectObject() const {
  if (value_ != nullptr && !value_->is_object()) WrongType("an object");
}

std::vector<Reader> Reader::Elements() const {
  std::vector<Reader> elements;
  if (value_ == nullptr || failed()) return elements;
  if (!value_->is_array()) {
    WrongType("an array");
    return elements;
  }
  elements.reserve(value_->size());
  for (size_t i = 0; i < value_->size(); ++i) {
    elements.emplace_back(&(*value_)[i], absl::StrCat(path_, "[", i, "]"), failure_);
  }
  return elements;
}

std::vector<std::pair<std::string, Reader>> Reader::Fields() const {
  std::vector<std::pair<std::string, Reader>> fields;
  ExpectObject();
  if (value_ == nullptr || failed()) return fields;
  for (const auto& [name, field] : value_->items()) {
    fields.emplace_back(name, Reader(&field, absl::StrCat(path_, ".", name), failure_));
  }
  return fields;
}

void Reader::Read(bool& out) const {
  if (value_ == nullptr || failed()) return;
  if (!value_->is_boolean()) return WrongType("true or false");
  out = *value_->get_ptr<const bool*>();
}

void Reader::Read(std::string& out) const {
  if (value_ == nullptr || failed()) return;
  if (!value_->is_string()) return WrongType("a string");
  const std::string& text = *value_->get_ptr<const std::string*>();
  // Whatever this becomes ends at the first of them.
  if (text.find('\0') != text.npos) return Fail("holds a NUL");
  out = text;
}

void Reader::Read(std::map<std::string, std::string>& out) const {
  for (const auto& [name, field] : Fields()) {
    std::string value;
    field.Read(value);
    out[name] = std::move(value);
  }
}

bool Reader::ReadSigned(int64_t lowest, int64_t highest, int64_t& out) const {
  if (value_ == nullptr || failed()) return false;
  if (!value_->is_number_integer()) {
    WrongType("a whole number");
    return false;
  }
  const auto* natural = value_->get_ptr<const json::number_unsigned_t*>();
  const bool too_large = natural != nullptr && *natural > static_cast<uint64_t>(highest);
  out = *value_->get_ptr<const json::number_integer_t*>();
  if (too_large || out < lowest || out > highest) {
    Fail(absl::StrCat(value_->dump(), " is not from ", lowest, " to ", highest));
    return false;
  }
  return true;
}

bool Reader::ReadUnsigned(uint64_t highest, uint64_t& out) const {
  if (value_ == nullptr || failed()) return false;
  if (!value_->is_number_integer()) {
    WrongType("a whole number");
    return false;
  }
  const auto* natural = value_->get_ptr<const json::number_unsigned_t*>();
  if (natural == nullptr || *natural > highest) {
    Fail(absl::StrCat(value_->dump(), " is not from 0 to ", highest));
    return false;
  }
  out = *natural;
  return true;
}

}  // namespace runsc::spec
