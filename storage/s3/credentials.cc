#include "storage/s3/credentials.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"
#include "base/unique_fd.h"
#include "glog/logging.h"

namespace backup::storage::s3 {
namespace {

constexpr size_t kMaxFileSize = size_t{64} << 10;
constexpr size_t kMaxValueSize = size_t{8} << 10;  // Session tokens are long.

bool IsValue(absl::string_view value) {
  return !value.empty() && value.size() <= kMaxValueSize &&
         std::all_of(value.begin(), value.end(), [](char c) { return absl::ascii_isgraph(c); });
}

// The value of an environment variable; empty as if it were not set.
std::string Variable(const CredentialsOptions& options, const char* name) {
  const char* const value = options.environment ? options.environment(name) : nullptr;
  return value == nullptr ? "" : value;
}

Credentials OfVariables(const CredentialsOptions& options) {
  return {Variable(options, "AWS_ACCESS_KEY_ID"), Variable(options, "AWS_SECRET_ACCESS_KEY"),
          Variable(options, "AWS_SESSION_TOKEN")};
}

bool AreGiven(const Credentials& credentials) {
  return !credentials.access_key.empty() || !credentials.secret_key.empty();
}

absl::Status Check(const Credentials& credentials) {
  if (!IsValue(credentials.access_key)) return absl::InvalidArgumentError("no access key id");
  if (!IsValue(credentials.secret_key)) return absl::InvalidArgumentError("no secret access key");
  if (!credentials.session_token.empty() && !IsValue(credentials.session_token))
    return absl::InvalidArgumentError("a session token that cannot be one");
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadSmallFile(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", path));
  struct stat info = {};
  LOG_IF(WARNING, ::fstat(fd.get(), &info) == 0 && (info.st_mode & (S_IRWXG | S_IRWXO)) != 0)
      << path << " is open to other users, and has the object store's secret key: chmod 600 it";
  std::string text(kMaxFileSize + 1, '\0');
  size_t size = 0;
  while (size < text.size()) {
    const ssize_t got = ::read(fd.get(), text.data() + size, text.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot read ", path));
    if (got == 0) break;
    size += static_cast<size_t>(got);
  }
  if (size > kMaxFileSize)
    return absl::InvalidArgumentError(absl::StrCat(path, " is too large for credentials"));
  text.resize(size);
  return text;
}

}  // namespace

std::string CredentialsFile(const CredentialsOptions& options) {
  if (!options.file.empty()) return options.file;
  if (AreGiven(OfVariables(options))) return "";
  const auto if_there = [](const std::string& path) {
    return ::access(path.c_str(), F_OK) == 0 ? path : "";
  };
  const std::string credentials = Variable(options, "CREDENTIALS_DIRECTORY");
  if (!credentials.empty()) {
    const std::string path = if_there(absl::StrCat(credentials, "/s3"));
    if (!path.empty()) return path;
  }
  const std::string shared = Variable(options, "AWS_SHARED_CREDENTIALS_FILE");
  if (!shared.empty()) return shared;
  const std::string home = Variable(options, "HOME");
  return home.empty() ? "" : if_there(absl::StrCat(home, "/.aws/credentials"));
}

absl::StatusOr<Credentials> ParseCredentials(const std::string& text, const std::string& profile) {
  Credentials credentials;
  bool is_its = false;
  bool was_there = false;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    line = absl::StripAsciiWhitespace(line);
    if (line.empty() || line.front() == '#' || line.front() == ';') continue;
    if (line.front() == '[') {
      is_its = line == absl::StrCat("[", profile, "]");
      was_there = was_there || is_its;
      continue;
    }
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(line, absl::MaxSplits('=', 1));
    const absl::string_view name = absl::StripAsciiWhitespace(parts.first);
    const absl::string_view value = absl::StripAsciiWhitespace(parts.second);
    if (!is_its) continue;
    if (name == "aws_access_key_id") credentials.access_key = std::string(value);
    if (name == "aws_secret_access_key") credentials.secret_key = std::string(value);
    if (name == "aws_session_token") credentials.session_token = std::string(value);
  }
  if (!was_there) return absl::InvalidArgumentError(absl::StrCat("no profile [", profile, "]"));
  RETURN_IF_ERROR(Check(credentials));
  return credentials;
}

absl::StatusOr<std::unique_ptr<CredentialsSource>> CredentialsSource::Open(
    CredentialsOptions options) {
  std::unique_ptr<CredentialsSource> source(new CredentialsSource(std::move(options)));
  ASSIGN_OR_RETURN(Credentials credentials, source->Load());
  MutexLock lock(source->mutex_);
  source->newest_ = std::make_shared<const Credentials>(std::move(credentials));
  return source;
}

std::shared_ptr<const Credentials> CredentialsSource::Get() const {
  MutexLock lock(mutex_);
  return newest_;
}

bool CredentialsSource::Reload(const Credentials& refused) {
  MutexLock reload_lock(reload_mutex_);
  if (*Get() != refused) return true;  // Somebody did it.
  const auto now = std::chrono::steady_clock::now();
  if (now < next_reload_) return false;
  next_reload_ = now + options_.reload_interval;
  absl::StatusOr<Credentials> credentials = Load();
  if (!credentials.ok()) {
    LOG(WARNING) << "credentials of the object store cannot be read again: "
                 << credentials.status().message();
    return false;
  }
  if (*credentials == refused) return false;
  LOG(INFO) << "the object store refused the credentials; new ones were read";
  MutexLock lock(mutex_);
  newest_ = std::make_shared<const Credentials>(*std::move(credentials));
  return true;
}

absl::StatusOr<Credentials> CredentialsSource::Load() const {
  if (const std::string path = CredentialsFile(options_); !path.empty()) {
    std::string profile = options_.profile;
    const std::string named = Variable(options_, "AWS_PROFILE");
    if (profile == "default" && !named.empty()) profile = named;
    ASSIGN_OR_RETURN(std::string text, ReadSmallFile(path));
    const absl::Cleanup wipe = [&] { Wipe(text); };
    absl::StatusOr<Credentials> parsed = ParseCredentials(text, profile);
    if (parsed.ok()) return parsed;
    return absl::InvalidArgumentError(
        absl::StrCat(path, " has no credentials: ", parsed.status().message()));
  }
  Credentials credentials = OfVariables(options_);
  if (!AreGiven(credentials)) {
    return absl::NotFoundError(
        "there are no credentials for the object store: give a file, or AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY, or the systemd credential s3");
  }
  if (const absl::Status checked = Check(credentials); !checked.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: ", checked.message()));
  }
  return credentials;
}

}  // namespace backup::storage::s3
