#include "crypto/master_key.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <optional>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/durable_file.h"
#include "base/error.h"
#include "base/hex.h"
#include "base/status_macros.h"
#include "base/unique_fd.h"
#include "crypto/aead.h"
#include "crypto/random.h"
#include "crypto/sha256.h"
#include "glog/logging.h"

namespace backup::crypto {
namespace {

constexpr size_t kKeySize = Aead::kKeySize;
constexpr size_t kMaxKeyFileSize = 2 * kKeySize + 2;  // Hex digits, and a newline of either kind.
constexpr size_t kFingerprintSize = 8;
// Bits of a mode.
constexpr mode_t kOthers = 077;
constexpr mode_t kOthersThanReadingGroup = 037;

absl::Status FileError(const std::string& path, absl::string_view doing) {
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot ", doing, " the master key file ", path,
                                                 errno == ENOSPC ? ": free disk space" : ""));
}

// Of two that try at once one wins, and both read the same.
absl::Status CreateKeyFile(const std::string& path) {
  const SecretBytes digits(absl::BytesToHexString(SecretBytes(RandomBytes(kKeySize))));
  std::string text;
  const absl::Cleanup wipe = [&] { Wipe(text); };
  text.reserve(digits.size() + 1);  // Else what it grows out of would be left.
  absl::StrAppend(&text, absl::string_view(digits), "\n");
  // A random name: in a container, one that crashed had the same process id.
  const std::string id = absl::BytesToHexString(RandomBytes(kFingerprintSize));
  return MakeFileIfMissing(path, text, id) ? absl::OkStatus() : FileError(path, "create");
}

// What is in the file; `forbidden` are the bits that its mode must not have.
absl::StatusOr<std::string> ReadKeyFile(const std::string& path, mode_t forbidden) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return FileError(path, "open");
  struct stat info = {};
  if (::fstat(file.get(), &info) != 0) return FileError(path, "examine");
  if ((info.st_mode & forbidden) != 0) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the master key file ", path, " can be read by group or others: chmod 600 it"));
  }
  std::string text(kMaxKeyFileSize + 1, '\0');
  const ssize_t size = ::read(file.get(), text.data(), text.size());
  if (size < 0) return FileError(path, "read");
  text.resize(static_cast<size_t>(size));
  return text;
}

}  // namespace

absl::StatusOr<std::unique_ptr<MasterKey>> MasterKey::LoadOrCreate(const std::string& path) {
  if (::access(path.c_str(), F_OK) != 0 && errno == ENOENT) RETURN_IF_ERROR(CreateKeyFile(path));
  return Load(path);
}

absl::StatusOr<std::unique_ptr<MasterKey>> MasterKey::Load(const std::string& path) {
  ASSIGN_OR_RETURN(std::string text, ReadKeyFile(path, kOthers));
  return Parse(std::move(text), absl::StrCat("the master key file ", path));
}

absl::StatusOr<std::unique_ptr<MasterKey>> MasterKey::LoadCredential(const std::string& name) {
  const char* const folder = std::getenv("CREDENTIALS_DIRECTORY");
  if (folder == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat("there is no credential ", name,
                     ": $CREDENTIALS_DIRECTORY is not set, as systemd does for a unit with "
                     "LoadCredential="));
  }
  const std::string path = absl::StrCat(folder, "/", name);
  ASSIGN_OR_RETURN(std::string text, ReadKeyFile(path, kOthersThanReadingGroup));
  return Parse(std::move(text), absl::StrCat("the master key file ", path));
}

absl::StatusOr<std::unique_ptr<MasterKey>> MasterKey::Parse(std::string text,
                                                            absl::string_view origin) {
  const absl::Cleanup wipe = [&] { Wipe(text); };
  const absl::string_view hex = absl::StripAsciiWhitespace(text);
  std::optional<std::string> key = HexToBytes(hex);
  if (text.size() > kMaxKeyFileSize || !key || key->size() != kKeySize) {
    return absl::FailedPreconditionError(
        absl::StrCat(origin, " must hold 64 hex digits and a newline"));
  }
  return std::make_unique<MasterKey>(*std::move(key));
}

MasterKey::MasterKey(SecretBytes key) : key_(std::move(key)) { CHECK_EQ(key_.size(), kKeySize); }

std::string MasterKey::Seal(absl::string_view secret, absl::string_view context) const {
  return SealAlone(key_, context, secret);
}

absl::StatusOr<SecretBytes> MasterKey::Open(absl::string_view sealed,
                                            absl::string_view context) const {
  std::optional<std::string> secret = OpenAlone(key_, context, sealed);
  if (!secret) {
    return MakeError(Reason::kBlobDamaged,
                     "a sealed key was changed, or sealed under another master key");
  }
  return SecretBytes(*std::move(secret));
}

std::string MasterKey::Fingerprint() const {
  Sha256 hash;
  hash.Update(key_);
  return absl::BytesToHexString(hash.Finish().substr(0, kFingerprintSize));
}

}  // namespace backup::crypto
