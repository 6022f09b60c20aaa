#include "storage/catalog/catalog_errors.h"

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/name_text.h"

namespace backup::storage {

absl::Status ClientNotFound(const ClientId& id) {
  return MakeError(Reason::kClientNotFound, absl::StrCat("there is no client ", ToUuid(id)),
                   ToUuid(id));
}

absl::Status ClientNotFoundByName(const std::string& name) {
  const std::string text = NameToText(name);
  return MakeError(Reason::kClientNotFound, absl::StrCat("there is no client named ", text), text);
}

absl::Status FileNotFound(const std::string& file_name) {
  const std::string name = NameToText(file_name);
  return MakeError(Reason::kFileNotFound, absl::StrCat("the client has no file ", name), name);
}

absl::Status VersionNotFound(const std::string& file_name, int64_t version_id) {
  const std::string name = NameToText(file_name);
  return MakeError(Reason::kVersionNotFound,
                   version_id == 0
                       ? absl::StrCat("no version of ", name, " was ever verified")
                       : absl::StrCat("the file ", name, " has no version ", version_id),
                   version_id == 0 ? name : absl::StrCat(name, "@", version_id));
}

absl::Status UploadNotFound(const std::string& file_name) {
  const std::string name = NameToText(file_name);
  return MakeError(Reason::kVersionNotFound,
                   absl::StrCat("the file ", name, " has no version of this upload"), name);
}

absl::Status LostSight() {
  return MakeError(Reason::kBackendDown,
                   "the service lost sight of the file while it was stored; send it again");
}

}  // namespace backup::storage
