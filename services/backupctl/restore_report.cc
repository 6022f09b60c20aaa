#include "services/backupctl/restore_report.h"

#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/error.h"
#include "base/name_text.h"
#include "nlohmann/json.hpp"
#include "services/backupctl/exit_code.h"

namespace backup::ctl {
namespace {

// For people: as a listing of the folder shows it, without what could confuse a terminal.
std::string ShownPath(absl::string_view path) {
  return absl::StrReplaceAll(NameToText(path), {{"%25", "%"}});
}

}  // namespace

void RestoreReport::Restored(const v1::FileVersion& version, const PlannedPath& place) {
  ++summary_.files;
  summary_.bytes += version.size_bytes();
  Tell(dry_run_ ? "would_restore" : "restored", version, place);
  if (dry_run_ && !output_.json()) {
    output_.Text(absl::StrCat("would restore ", Printable(version.file_name()), " version ",
                              version.version_id(), ", ", HumanSize(version.size_bytes()), "\n"));
  }
}

void RestoreReport::Kept(const v1::FileVersion& version, const PlannedPath& place) {
  ++summary_.kept;
  Tell("kept", version, place);
}

void RestoreReport::Instead(const v1::FileVersion& meant, const v1::FileVersion& version) {
  ++summary_.older;
  progress_.Hide();
  output_.Problem(absl::StrCat("older: version ", meant.version_id(), " of ", meant.file_name(),
                               " is damaged; version ", version.version_id(), " of ",
                               TimeText(version.receive_time()),
                               dry_run_ ? " is to be restored instead" : " is restored instead"));
  if (!output_.json()) return;
  output_.Json(nlohmann::ordered_json{{"instead",
                                       {{"file_name", meant.file_name()},
                                        {"damaged_version_id", meant.version_id()},
                                        {"version_id", version.version_id()}}}});
}

void RestoreReport::Failed(const v1::FileVersion& version, const absl::Status& why) {
  ++summary_.failed;
  progress_.Hide();
  const bool is_damaged = ReasonOf(why) == Reason::kBlobDamaged;
  output_.Problem(absl::StrCat(
      "cannot restore ", version.file_name(), ": ", ErrorLine(why),
      is_damaged ? "; --fallback restores the newest version that is not damaged" : ""));
  if (!output_.json()) return;
  nlohmann::ordered_json failed = {{"file_name", version.file_name()},
                                   {"version_id", version.version_id()}};
  if (const std::optional<Reason> reason = ReasonOf(why))
    failed["reason"] = std::string(InfoOf(*reason).name);
  failed["error"] = std::string(why.message());
  output_.Json(nlohmann::ordered_json{{"failed", failed}});
}

void RestoreReport::Tell(absl::string_view what, const v1::FileVersion& version,
                         const PlannedPath& place) {
  if (place.renamed) {
    ++summary_.renamed;
    progress_.Hide();
    output_.Problem(absl::StrCat("another name: ", version.file_name(), " is ",
                                 dry_run_ ? "to be " : "", "found as ", ShownPath(place.path)));
  }
  if (!output_.json()) return;
  const nlohmann::ordered_json all = ToJson(version);
  nlohmann::ordered_json file;
  for (const char* field : {"file_name", "version_id", "size_bytes", "sha256", "receive_time"}) {
    if (all.contains(field)) file[field] = all[field];
  }
  // Where the path has bytes that are not UTF-8, only its text tells them.
  file["path"] = place.path;
  file["path_text"] = NameToText(place.path);
  file["renamed"] = place.renamed;
  output_.Json(nlohmann::ordered_json{{std::string(what), file}});
}

bool EndsEverything(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status) ||
         absl::IsCancelled(status) || absl::IsResourceExhausted(status);
}

absl::Status Incomplete(const absl::Status& why, const RestoreSummary& summary) {
  return SameKind(why,
                  absl::StrCat(ErrorLine(why), "; the restore is not complete: ", summary.files,
                               " files were restored before; the same command goes on"));
}

}  // namespace backup::ctl
