// state and list: what there is to see without asking anybody.
#include <stdio.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "runsc/oci/commands.h"

namespace runsc::oci {

absl::StatusOr<int> Print(const std::string& text) {
  if (fwrite(text.data(), 1, text.size(), stdout) != text.size() || fflush(stdout) != 0) {
    return absl::InternalError("cannot write to standard output");
  }
  return 0;
}

absl::StatusOr<int> RunState(Config& config, const Arguments& arguments) {
  const absl::StatusOr<Entry> entry = StoreOf(config).Find(arguments[0]);
  if (!entry.ok()) return entry.status();
  const Record record = entry->Load();
  return Print(absl::StrCat(StateJson(record, PhaseOf(record)), "\n"));
}

absl::StatusOr<int> RunList(Config& config, const Arguments&) {
  const Store store = StoreOf(config);
  std::string table = absl::StrFormat("%-28s %-10s %-10s %-40s %-28s %s\n", "ID", "PID", "STATUS",
                                      "BUNDLE", "CREATED", "OWNER");
  std::string ids;
  std::string json;
  for (const std::string& id : store.List()) {
    const absl::StatusOr<Entry> entry = store.Find(id);
    if (!entry.ok()) continue;
    const Record record = entry->Load();
    const Phase phase = PhaseOf(record);
    absl::StrAppendFormat(&table, "%-28s %-10d %-10s %-40s %-28s %s\n", id,
                          phase == Phase::kStopped ? 0 : record.monitor.pid, NameOf(phase),
                          record.bundle, record.created, record.owner);
    absl::StrAppend(&ids, id, "\n");
    absl::StrAppend(&json, json.empty() ? "" : ",", StateJson(record, phase));
  }
  if (config.oci.quiet) return Print(ids);
  return Print(config.oci.format == "json" ? absl::StrCat("[", json, "]\n") : table);
}

}  // namespace runsc::oci
