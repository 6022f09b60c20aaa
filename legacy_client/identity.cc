#include "legacy_client/identity.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/hex.h"
#include "base/status_macros.h"
#include "base/unique_fd.h"

namespace backup::legacy_client {
namespace {

constexpr mode_t kOwnerOnly = 0600;

std::string MeInfoPath(const std::string& dir) { return absl::StrCat(dir, "/me.info"); }
std::string PrivateKeyPath(const std::string& dir) { return absl::StrCat(dir, "/priv.key"); }

absl::StatusOr<std::string> ReadText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  if (!file || !(text << file.rdbuf())) {
    return absl::InvalidArgumentError(absl::StrCat("cannot read ", path));
  }
  return text.str();
}

// Base64 that may be broken into lines.
absl::StatusOr<std::string> DecodeKey(absl::string_view text) {
  std::string compact(text);
  compact.erase(
      std::remove_if(compact.begin(), compact.end(), [](char c) { return absl::ascii_isspace(c); }),
      compact.end());
  std::string key;
  if (compact.empty() || !absl::Base64Unescape(compact, &key)) {
    return absl::InvalidArgumentError("the private key is not base64");
  }
  return key;
}

absl::StatusOr<ClientId> DecodeId(absl::string_view hex) {
  const std::optional<std::string> bytes = HexToBytes(hex);
  if (!bytes || bytes->size() != ClientId::kSize) {
    return absl::InvalidArgumentError("me.info, line 2: must be the id, 32 hex digits");
  }
  return *ClientId::FromBytes(*bytes);
}

absl::Status WriteAll(int fd, absl::string_view text) {
  while (!text.empty()) {
    const ssize_t size = ::write(fd, text.data(), text.size());
    if (size < 0 && errno != EINTR) return absl::ErrnoToStatus(errno, "write");
    if (size > 0) text.remove_prefix(static_cast<size_t>(size));
  }
  return absl::OkStatus();
}

// By way of a file beside it, which must not be left open to others for any time.
absl::Status WritePrivately(const std::string& path, absl::string_view text) {
  const std::string beside = absl::StrCat(path, ".new");
  ::unlink(beside.c_str());
  const UniqueFd fd(::open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, kOwnerOnly));
  if (!fd.valid()) return absl::ErrnoToStatus(errno, absl::StrCat("cannot create ", beside));
  RETURN_IF_ERROR(WriteAll(fd.get(), text));
  if (::fsync(fd.get()) != 0 || ::rename(beside.c_str(), path.c_str()) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", path));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::optional<Identity>> LoadIdentity(const std::string& dir) {
  if (!std::filesystem::exists(MeInfoPath(dir))) return std::nullopt;
  ASSIGN_OR_RETURN(const std::string text, ReadText(MeInfoPath(dir)));
  std::vector<absl::string_view> lines = absl::StrSplit(text, '\n');
  for (absl::string_view& line : lines) line = absl::StripSuffix(line, "\r");
  if (lines.size() < 2 || lines[0].empty()) {
    return absl::InvalidArgumentError("me.info: must hold the name, the id and the private key");
  }
  Identity identity;
  identity.name = std::string(lines[0]);
  ASSIGN_OR_RETURN(identity.id, DecodeId(lines[1]));
  std::string key_text = absl::StrJoin(lines.begin() + 2, lines.end(), "");
  if (key_text.empty()) {
    ASSIGN_OR_RETURN(key_text, ReadText(PrivateKeyPath(dir)));
  }
  ASSIGN_OR_RETURN(identity.private_key, DecodeKey(key_text));
  return identity;
}

absl::Status SaveIdentity(const std::string& dir, const Identity& identity) {
  const std::string key = absl::StrCat(absl::Base64Escape(identity.private_key), "\n");
  // The key first: a me.info without its key would be of no use.
  RETURN_IF_ERROR(WritePrivately(PrivateKeyPath(dir), key));
  return WritePrivately(
      MeInfoPath(dir),
      absl::StrCat(identity.name, "\n", absl::BytesToHexString(identity.id.bytes()), "\n", key));
}

}  // namespace backup::legacy_client
