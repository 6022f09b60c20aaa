#include "base/production.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace backup {
namespace {

constexpr uid_t kRoot = 0;
constexpr mode_t kPermissions = 07777;
constexpr mode_t kAnythingByOthers = S_IRWXG | S_IRWXO;
constexpr mode_t kWriteByOthers = S_IWGRP | S_IWOTH;

std::optional<FileRights> RightsOf(const std::string& path) {
  struct stat info = {};
  if (::stat(path.c_str(), &info) != 0) return std::nullopt;
  return FileRights{info.st_uid, info.st_mode & kPermissions};
}

std::filesystem::path Canonical(const std::string& path) {
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(path, error);
  std::filesystem::path canonical = std::filesystem::weakly_canonical(absolute, error);
  if (error) canonical = absolute.lexically_normal();
  // A folder that is named with a slash at its end has the same parts as without.
  return canonical.has_filename() ? canonical : canonical.parent_path();
}

std::string FolderOf(const std::filesystem::path& path) {
  const std::filesystem::path folder = path.parent_path();
  return folder.empty() ? "." : folder.string();
}

bool IsTrusted(uid_t owner, uid_t user) { return owner == kRoot || owner == user; }

void AddFaultsOf(const SecretFile& secret, uid_t user, std::vector<std::string>& faults) {
  const std::string named = absl::StrCat(secret.flag, "=", secret.path);
  if (const std::optional<FileRights>& rights = secret.rights) {
    const mode_t allowed = secret.group_may_read ? S_IRGRP : 0;
    if ((rights->mode & kAnythingByOthers & ~allowed) != 0) {
      faults.push_back(
          absl::StrFormat("%s is open to others (mode %04o): chmod 600 it", named, rights->mode));
    }
    if (!IsTrusted(rights->owner, user)) {
      faults.push_back(absl::StrCat(named, " belongs to user ", rights->owner,
                                    ": chown it to root or to this program's user"));
    }
  }
  for (const SecretFile::Folder& folder : secret.folders) {
    // Where the sticky bit is set, only the owners of folder and file can exchange it.
    const bool is_sticky = (folder.rights.mode & S_ISVTX) != 0;
    if ((folder.rights.mode & kWriteByOthers) != 0 && !is_sticky) {
      faults.push_back(
          absl::StrFormat("%s is in %s, where others can write (mode %04o): chmod "
                          "go-w it",
                          named, folder.path, folder.rights.mode));
    }
    if (!IsTrusted(folder.rights.owner, user)) {
      faults.push_back(absl::StrCat(named, " is in ", folder.path, ", which belongs to user ",
                                    folder.rights.owner,
                                    ": chown it to root or to this program's user"));
    }
  }
}

void AddFaultsOfGrpc(const ProductionSettings& settings, std::vector<std::string>& faults) {
  if (settings.insecure_grpc)
    faults.push_back("--insecure_grpc allows plaintext beyond this machine: leave it out");
  if (settings.address_is_local) return;
  if (!settings.has_tls) {
    faults.push_back(absl::StrCat(settings.address,
                                  " would be plaintext beyond this machine: give ",
                                  settings.tls_flag, ", or 127.0.0.1 or unix:PATH"));
  }
  if (settings.reflection) {
    faults.push_back(absl::StrCat("--grpc_reflection=on tells the whole API at ", settings.address,
                                  ", beyond this machine: give auto or off"));
  }
}

}  // namespace

SecretFile FindSecretFile(const std::string& flag, const std::string& path) {
  SecretFile secret{.flag = flag, .path = path, .rights = RightsOf(path)};
  std::vector<std::string> folders = {FolderOf(path)};
  const std::string target = FolderOf(Canonical(path));
  if (Canonical(folders.front()) != target) folders.push_back(target);
  for (const std::string& folder : folders) {
    if (const std::optional<FileRights> rights = RightsOf(folder))
      secret.folders.push_back({folder, *rights});
  }
  const char* const credentials = std::getenv("CREDENTIALS_DIRECTORY");
  secret.group_may_read = credentials != nullptr && IsInFolder(path, credentials);
  return secret;
}

bool IsInFolder(const std::string& path, const std::string& folder) {
  const std::filesystem::path inner = Canonical(path);
  const std::filesystem::path outer = Canonical(folder);
  return std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first == outer.end();
}

std::vector<std::string> ProductionFaults(const ProductionSettings& settings) {
  std::vector<std::string> faults;
  if (settings.debug)
    faults.push_back("--debug answers wrong checksums and logs everything: leave it out");
  if (settings.corrupt_checksums)
    faults.push_back("--corrupt_checksums=true answers wrong checksums: give auto or false");
  AddFaultsOfGrpc(settings, faults);
  for (const SecretFile& secret : settings.secrets) AddFaultsOf(secret, settings.user, faults);
  if (settings.master_key_is_beside_data && !settings.allow_master_key_beside_data) {
    faults.push_back(
        "the master key is in --data_dir, and whoever has a copy of that could open everything: "
        "give --master_key_file elsewhere, --master_key_credential or --master_key_command, or "
        "allow it with --allow_master_key_beside_data");
  }
  return faults;
}

absl::Status CheckProduction(const ProductionSettings& settings) {
  const std::vector<std::string> faults = ProductionFaults(settings);
  if (faults.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("not fit for --production: ", absl::StrJoin(faults, "; ")));
}

}  // namespace backup
