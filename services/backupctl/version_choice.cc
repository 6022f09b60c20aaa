#include "services/backupctl/version_choice.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "services/backupctl/output.h"

namespace backup::ctl {
namespace {

constexpr int kPageSize = 1000;

// A damaged version was verified, too, if it was.
bool WasVerified(const v1::FileVersion& version) {
  return version.state() == v1::FileVersion::VERIFIED ||
         (version.state() == v1::FileVersion::DAMAGED && version.has_verify_time());
}

// The newest version of a file for which `is_it`.
template <typename IsIt>
absl::StatusOr<std::optional<v1::FileVersion>> FindVersion(Connection& connection,
                                                           const std::string& client_id,
                                                           const std::string& file_name,
                                                           const IsIt& is_it) {
  v1::ListVersionsRequest request;
  request.set_client_id(client_id);
  request.set_file_name(file_name);
  request.set_page_size(kPageSize);
  do {
    ASSIGN_OR_RETURN(
        const v1::ListVersionsResponse page,
        connection.CallUnary(connection.catalog(), &v1::CatalogService::StubInterface::ListVersions,
                             request));
    for (const v1::FileVersion& version : page.versions()) {
      if (is_it(version)) return std::optional<v1::FileVersion>(version);
    }
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return std::optional<v1::FileVersion>();
}

}  // namespace

absl::StatusOr<absl::Time> ParseMoment(absl::string_view text, absl::TimeZone local) {
  absl::Time time;
  std::string error;
  for (const char* format :
       {absl::RFC3339_full, "%Y-%m-%d %H:%M:%E*S", "%Y-%m-%d %H:%M", "%Y-%m-%d"}) {
    const bool parsed = absl::ParseTime(format, text, local, &time, &error);
    if (parsed && time != absl::InfiniteFuture() && time != absl::InfinitePast()) return time;
  }
  return absl::InvalidArgumentError(
      absl::StrCat(text,
                   " is no time such as 2026-05-01, \"2026-05-01 18:30\" (local time) or "
                   "2026-05-01T18:30:00Z"));
}

absl::StatusOr<std::optional<v1::FileVersion>> GoodVersionBefore(Connection& connection,
                                                                 const v1::FileVersion& version,
                                                                 std::optional<absl::Time> as_of) {
  return FindVersion(connection, version.client_id(), version.file_name(),
                     [&](const v1::FileVersion& other) {
                       return other.version_id() < version.version_id() &&
                              other.state() == v1::FileVersion::VERIFIED &&
                              (!as_of || ToTime(other.verify_time()) <= *as_of);
                     });
}

ChosenVersions::ChosenVersions(Connection& connection, std::string client_id, VersionChoice choice)
    : connection_(connection), choice_(std::move(choice)), fitted_(choice_.files.size()) {
  request_.set_client_id(std::move(client_id));
  request_.set_page_size(kPageSize);
}

absl::StatusOr<std::optional<v1::FileVersion>> ChosenVersions::Next() {
  if (choice_.version_id != 0) return OnlyVersion();
  while (true) {
    ASSIGN_OR_RETURN(const std::optional<v1::File> file, NextFile());
    if (!file) return std::optional<v1::FileVersion>();
    std::optional<v1::FileVersion> version;
    if (choice_.as_of) {
      ASSIGN_OR_RETURN(version, NewestAsOf(*file));
    } else if (file->has_newest_verified()) {
      version = file->newest_verified();
    }
    if (version) return version;
    ++without_version_;
  }
}

std::vector<std::string> ChosenVersions::IdlePatterns() const {
  std::vector<std::string> idle;
  for (size_t i = 0; i < fitted_.size(); ++i) {
    if (!fitted_[i]) idle.push_back(choice_.files[i].text());
  }
  return idle;
}

absl::StatusOr<std::optional<v1::File>> ChosenVersions::NextFile() {
  while (true) {
    while (next_in_page_ < page_.files_size()) {
      const v1::File& file = page_.files(next_in_page_++);
      if (IsMeant(file)) return std::optional<v1::File>(file);
    }
    if (ended_) return std::optional<v1::File>();
    ASSIGN_OR_RETURN(
        page_, connection_.CallUnary(connection_.catalog(),
                                     &v1::CatalogService::StubInterface::ListFiles, request_));
    next_in_page_ = 0;
    request_.set_page_token(page_.next_page_token());
    ended_ = page_.next_page_token().empty();
  }
}

bool ChosenVersions::IsMeant(const v1::File& file) {
  bool meant = choice_.files.empty();
  for (size_t i = 0; i < choice_.files.size(); ++i) {
    if (!choice_.files[i].Matches(file.file_name())) continue;
    fitted_[i] = true;
    meant = true;
  }
  return meant;
}

absl::StatusOr<std::optional<v1::FileVersion>> ChosenVersions::NewestAsOf(const v1::File& file) {
  if (!file.has_newest_verified()) return std::optional<v1::FileVersion>();
  if (ToTime(file.newest_verified().verify_time()) <= *choice_.as_of)
    return std::optional<v1::FileVersion>(file.newest_verified());
  return FindVersion(
      connection_, request_.client_id(), file.file_name(), [&](const v1::FileVersion& version) {
        return WasVerified(version) && ToTime(version.verify_time()) <= *choice_.as_of;
      });
}

absl::StatusOr<std::optional<v1::FileVersion>> ChosenVersions::GoodVersionBefore(
    const v1::FileVersion& version) const {
  return ctl::GoodVersionBefore(connection_, version, choice_.as_of);
}

absl::StatusOr<std::optional<v1::FileVersion>> ChosenVersions::OnlyVersion() {
  ASSIGN_OR_RETURN(const std::optional<v1::File> file, NextFile());
  if (!file) return std::optional<v1::FileVersion>();
  ASSIGN_OR_RETURN(const std::optional<v1::File> other, NextFile());
  if (other) {
    return absl::InvalidArgumentError(absl::StrCat("--version is for one file, but --file means ",
                                                   file->file_name(), ", ", other->file_name(),
                                                   " and maybe more"));
  }
  v1::GetVersionRequest request;
  request.set_client_id(request_.client_id());
  request.set_file_name(file->file_name());
  request.set_version_id(choice_.version_id);
  ASSIGN_OR_RETURN(const v1::GetVersionResponse found,
                   connection_.CallUnary(connection_.catalog(),
                                         &v1::CatalogService::StubInterface::GetVersion, request));
  return std::optional<v1::FileVersion>(found.version());
}

}  // namespace backup::ctl
