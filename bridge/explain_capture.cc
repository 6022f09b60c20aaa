#include "bridge/explain_capture.h"

#include <iostream>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/exit_code.h"
#include "base/printable.h"
#include "base/standard_output.h"
#include "base/status_macros.h"
#include "bridge/capture/read_capture.h"
#include "bridge/wire/dialects.h"
#include "bridge/wire/explain.h"

namespace backup::bridge {
namespace {

absl::StatusOr<wire::Explainer> MakeExplainer(absl::Span<const wire::Dialect> dialects) {
  std::vector<wire::Explainer::Description> descriptions;
  for (const wire::Dialect& dialect : dialects) {
    descriptions.push_back({std::string(dialect.name()), std::string(dialect.source())});
  }
  return wire::Explainer::Make(descriptions);
}

absl::StatusOr<capture::Capture> Read(const std::string& path) {
  ASSIGN_OR_RETURN(capture::Capture capture, capture::ReadCapture(path));
  if (!capture.conversations.empty()) return capture;
  capture.remarks.insert(capture.remarks.begin(), "nobody says anything in it");
  return absl::InvalidArgumentError(absl::StrJoin(capture.remarks, "; "));
}

void NoteForeignProtocol(wire::Conversation& conversation) {
  const absl::string_view protocol = wire::DetectForeignProtocol(conversation.client.bytes);
  if (!protocol.empty()) conversation.remarks.push_back(absl::StrCat("it looks like ", protocol));
}

// Whether all of it fits.
absl::StatusOr<bool> Explain(const std::string& path, absl::Span<const wire::Dialect> dialects) {
  ASSIGN_OR_RETURN(wire::Explainer explainer, MakeExplainer(dialects));
  ASSIGN_OR_RETURN(capture::Capture capture, Read(path));
  for (const std::string& remark : capture.remarks) std::cout << "note: " << remark << "\n";
  bool fits = true;
  for (wire::Conversation& conversation : capture.conversations) {
    NoteForeignProtocol(conversation);
    fits = explainer.Explain(conversation, std::cout) && fits;
  }
  explainer.Summarize(std::cout);
  RETURN_IF_ERROR(FlushStandardOutput());
  return fits;
}

}  // namespace

int ExplainCapture(const std::string& path, absl::Span<const wire::Dialect> dialects) {
  const absl::StatusOr<bool> fits = Explain(path, dialects);
  if (fits.ok()) return *fits ? 0 : kExitDoesNotFit;
  const absl::Status error = WithMessage(
      fits.status(), absl::StrCat("--explain=", Printable(path), ": ", fits.status().message()));
  return Refuse(absl::IsInternal(error) ? error : WithExitCode(error, kExitBadConfiguration));
}

}  // namespace backup::bridge
