#include "rpc/tls_file_copies.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "glog/logging.h"

namespace backup::rpc {
namespace {

constexpr absl::Duration kCheckInterval = absl::Seconds(1);
constexpr size_t kMaxFileSize = 1 << 20;

// What differs once a file was written or replaced.
std::string VersionOf(const std::string& path) {
  struct stat info = {};
  if (path.empty() || ::stat(path.c_str(), &info) != 0) return "";
  return absl::StrCat(info.st_dev, ":", info.st_ino, ":", info.st_size, ":", info.st_mtim.tv_sec,
                      ".", info.st_mtim.tv_nsec);
}

std::string VersionOf(const TlsFiles& files) {
  return absl::StrCat(VersionOf(files.cert_file), " ", VersionOf(files.key_file), " ",
                      VersionOf(files.ca_file));
}

absl::StatusOr<UniqueFd> MakeMemoryFile() {
  UniqueFd fd(::memfd_create("tls", MFD_CLOEXEC));
  if (!fd.valid()) return absl::ErrnoToStatus(errno, "cannot make a file in memory");
  return fd;
}

absl::StatusOr<UniqueFd> CopyToMemory(const std::string& path) {
  const UniqueFd source(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!source.valid()) return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", path));
  ASSIGN_OR_RETURN(UniqueFd copy, MakeMemoryFile());
  if (::sendfile(copy.get(), source.get(), nullptr, kMaxFileSize) < 0)
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot copy ", path));
  return copy;
}

}  // namespace

absl::StatusOr<std::unique_ptr<TlsFileCopies>> TlsFileCopies::Make(const TlsFiles& files) {
  std::unique_ptr<TlsFileCopies> made(new TlsFileCopies(files));
  ASSIGN_OR_RETURN(made->copies_.cert_file, made->Add(files.cert_file));
  ASSIGN_OR_RETURN(made->copies_.key_file, made->Add(files.key_file));
  ASSIGN_OR_RETURN(made->copies_.ca_file, made->Add(files.ca_file));
  if (made->all_.empty()) return made;
  RETURN_IF_ERROR(made->Renew());
  made->seen_ = made->version_;
  made->looks_.emplace(kCheckInterval,
                       [&copies = *made](const std::stop_token&) { copies.Look(); });
  return made;
}

absl::StatusOr<std::string> TlsFileCopies::Add(const std::string& source) {
  if (source.empty()) return "";
  ASSIGN_OR_RETURN(UniqueFd fd, MakeMemoryFile());
  const std::string path = absl::StrCat("/proc/self/fd/", fd.get());
  all_.push_back({source, std::move(fd)});
  return path;
}

absl::Status TlsFileCopies::Renew() {
  const std::string version = VersionOf(files_);
  RETURN_IF_ERROR(CheckTlsFiles(files_));
  std::vector<UniqueFd> fresh;
  for (const Copy& copy : all_) {
    ASSIGN_OR_RETURN(UniqueFd fd, CopyToMemory(copy.source));
    fresh.push_back(std::move(fd));
  }
  if (VersionOf(files_) != version) return absl::UnavailableError("the files are being changed");
  // Each takes the place of the one before at once: no reader sees a part of a file.
  for (size_t i = 0; i < all_.size(); ++i)
    PCHECK(::dup3(fresh[i].get(), all_[i].fd.get(), O_CLOEXEC) >= 0);
  version_ = version;
  return absl::OkStatus();
}

void TlsFileCopies::Reload() {
  if (!looks_) return;
  is_asked_ = true;
  looks_->Wake();
}

void TlsFileCopies::Look() {
  const std::string now = VersionOf(files_);
  const bool is_new_to_us = std::exchange(seen_, now) != now;
  const bool is_asked = is_asked_.exchange(false);
  // Files that changed since the last look may still be changing.
  if (!is_asked && (is_new_to_us || now == version_)) return;
  const absl::Status renewed = Renew();
  if (renewed.ok()) {
    LOG(INFO) << "changed TLS files are used from now on";
  } else if (is_asked || complaint_ != renewed.message()) {
    LOG(ERROR) << "the TLS files used so far stay in use: " << renewed.message();
  }
  complaint_ = std::string(renewed.message());
}

}  // namespace backup::rpc
