#include "base/standard_error.h"

#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <iostream>
#include <streambuf>

#include "absl/strings/string_view.h"

namespace backup {
namespace {

constexpr int kPatienceMs = 1000;

// Leaves out what nobody takes. Thread-safe.
void WriteBounded(absl::string_view bytes) {
  static std::atomic<int> patience_ms = kPatienceMs;
  while (!bytes.empty()) {
    pollfd room = {STDERR_FILENO, POLLOUT, 0};
    const int found = ::poll(&room, 1, patience_ms);
    if (found < 0 && errno == EINTR) continue;
    patience_ms = found > 0 ? kPatienceMs : 0;
    if (found <= 0) return;
    // A pipe with room has room for so much.
    const ssize_t written =
        ::write(STDERR_FILENO, bytes.data(), std::min<size_t>(bytes.size(), PIPE_BUF));
    if (written < 0 && errno != EINTR && errno != EAGAIN) return;
    if (written > 0) bytes.remove_prefix(static_cast<size_t>(written));
  }
}

class BoundedBuffer final : public std::streambuf {
 protected:
  std::streamsize xsputn(const char* bytes, std::streamsize size) override {
    WriteBounded(absl::string_view(bytes, static_cast<size_t>(size)));
    return size;
  }
  int_type overflow(int_type value) override {
    if (traits_type::eq_int_type(value, traits_type::eof())) return traits_type::not_eof(value);
    const char byte = traits_type::to_char_type(value);
    WriteBounded(absl::string_view(&byte, 1));
    return value;
  }
};

ssize_t WriteCookie(void*, const char* bytes, size_t size) {
  WriteBounded(absl::string_view(bytes, size));
  return static_cast<ssize_t>(size);
}

}  // namespace

void BoundStandardError() {
  struct stat info = {};
  if (::fstat(STDERR_FILENO, &info) != 0 || !S_ISFIFO(info.st_mode)) return;
  std::cerr.rdbuf(new BoundedBuffer);  // For the rest of the process, as is the file.
  cookie_io_functions_t functions = {};
  functions.write = &WriteCookie;
  FILE* const file = ::fopencookie(nullptr, "w", functions);
  if (file == nullptr) return;
  ::setvbuf(file, nullptr, _IOLBF, 0);
  stderr = file;
}

}  // namespace backup
