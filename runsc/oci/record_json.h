// state.json as text, and files that appear in one step.
#ifndef RUNSC_OCI_RECORD_JSON_H_
#define RUNSC_OCI_RECORD_JSON_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "runsc/oci/store.h"

namespace runsc::oci {

std::string RecordToJson(const Record& record);
// What is missing or of a wrong type keeps its default.
Record RecordFromJson(std::string_view text);

// By way of a file beside it and rename(2): a reader finds the old or the new content,
// and a full disk leaves the old. `mode` is subject to the umask.
absl::Status WriteFileAtomically(const std::string& path, const std::string& text,
                                 mode_t mode = 0600);

}  // namespace runsc::oci

#endif  // RUNSC_OCI_RECORD_JSON_H_
