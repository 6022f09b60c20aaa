#include "bridge/capture/read_capture.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "base/unique_fd.h"
#include "bridge/capture/hex_text.h"
#include "bridge/capture/pcap_file.h"
#include "bridge/capture/reassembly.h"

namespace backup::capture {
namespace {

constexpr size_t kMagicSize = 4;

// Reads at most `size` bytes more.
absl::Status ReadUpTo(int fd, size_t size, std::string& bytes) {
  constexpr size_t kPiece = size_t{1} << 16;
  const size_t end = bytes.size() + size;
  while (bytes.size() < end) {
    const size_t before = bytes.size();
    bytes.resize(std::min(end, before + kPiece));
    ssize_t got = 0;
    do {
      got = ::read(fd, bytes.data() + before, bytes.size() - before);
    } while (got < 0 && errno == EINTR);
    bytes.resize(before + static_cast<size_t>(std::max<ssize_t>(got, 0)));
    if (got < 0) return absl::ErrnoToStatus(errno, "cannot read it");
    if (got == 0) break;
  }
  return absl::OkStatus();
}

bool IsText(absl::string_view bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= 0x80 || absl::ascii_isprint(byte) || absl::ascii_isspace(byte);
  });
}

}  // namespace

absl::StatusOr<Capture> ReadCapture(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) return absl::ErrnoToStatus(errno, "cannot open it");
  struct stat status = {};
  if (::fstat(fd.get(), &status) != 0) return absl::ErrnoToStatus(errno, "cannot look at it");
  if (!S_ISREG(status.st_mode)) return absl::InvalidArgumentError("it is no file");
  std::string text;
  RETURN_IF_ERROR(ReadUpTo(fd.get(), kMagicSize, text));
  Capture capture;
  if (IsPcap(text)) {
    Reassembly reassembly;
    RETURN_IF_ERROR(ReadPcap(path, reassembly, capture.remarks));
    capture.conversations = reassembly.Finish();
    return capture;
  }
  if (status.st_size > static_cast<off_t>(kMaxTextSize)) {
    return absl::InvalidArgumentError(
        absl::StrCat("it is no capture of pcap or pcapng, and larger than ", kMaxTextSize >> 20,
                     " MiB, the most that is read as hex"));
  }
  RETURN_IF_ERROR(ReadUpTo(fd.get(), kMaxTextSize, text));
  if (!IsText(text)) {
    return absl::InvalidArgumentError(
        "it is neither a capture of pcap or pcapng (tcpdump -w), nor a text of hex");
  }
  ASSIGN_OR_RETURN(capture.conversations, ReadHexText(text));
  return capture;
}

}  // namespace backup::capture
