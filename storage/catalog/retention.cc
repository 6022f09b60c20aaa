#include "storage/catalog/retention.h"

#include "absl/strings/str_cat.h"
#include "base/error.h"

namespace backup::storage {

absl::Status CheckRemovable(std::optional<absl::Time> retain_until, absl::Time now,
                            absl::string_view subject) {
  if (!retain_until || *retain_until <= now) return absl::OkStatus();
  const absl::string_view distrust = now == absl::InfinitePast()
                                         ? " at least, and the machine's time is not trusted: see "
                                           "`backupctl status`"
                                         : "";
  return MakeError(
      Reason::kRetained,
      absl::StrCat("it must be kept until ",
                   absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", *retain_until, absl::UTCTimeZone()),
                   distrust),
      subject);
}

}  // namespace backup::storage
