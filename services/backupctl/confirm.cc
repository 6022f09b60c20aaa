#include "services/backupctl/confirm.h"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace backup::ctl {
namespace {

// Waits a moment for the terminal's user.
bool HasInput() {
  constexpr int kMomentMs = 100;
  pollfd input = {STDIN_FILENO, POLLIN, 0};
  return ::poll(&input, 1, kMomentMs) > 0;
}

// The first bytes of the line that is typed; nothing at the input's end.
std::string ReadAnswer() {
  std::array<char, 64> line = {};
  ssize_t size = 0;
  do {
    size = ::read(STDIN_FILENO, line.data(), line.size());
  } while (size < 0 && errno == EINTR);
  return std::string(line.data(), size < 0 ? 0 : static_cast<size_t>(size));
}

}  // namespace

absl::Status ConfirmDeletion(absl::string_view what, bool agreed, const Interrupt& interrupt,
                             Output& output) {
  if (agreed) {
    if (!output.json()) output.Note(absl::StrCat("deleting ", what));
    return absl::OkStatus();
  }
  if (::isatty(STDIN_FILENO) != 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "this would delete ", what, ": say --yes if you mean it (nothing was deleted)"));
  }
  output.Ask(absl::StrCat("Delete ", what, "? [y/N] "));
  while (!HasInput()) RETURN_IF_ERROR(interrupt.Check());
  const std::string answer = absl::AsciiStrToLower(absl::StripAsciiWhitespace(ReadAnswer()));
  if (answer == "y" || answer == "yes") return absl::OkStatus();
  return absl::AbortedError("nothing was deleted");
}

}  // namespace backup::ctl
