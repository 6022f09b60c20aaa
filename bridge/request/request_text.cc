#include "bridge/request/request_text.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/name_text.h"

namespace backup::bridge {
namespace {

// How many bytes of a head are shown. A public key is never among them.
constexpr size_t kDumpSize = 64;

struct Name {
  absl::string_view operator()(const wire::Register&) const { return "register"; }
  absl::string_view operator()(const wire::SendPublicKey&) const { return "public_key"; }
  absl::string_view operator()(const wire::Reconnect&) const { return "reconnect"; }
  absl::string_view operator()(const wire::SendFile&) const { return "file"; }
  absl::string_view operator()(const wire::ChecksumVerdict& verdict) const {
    switch (verdict.kind) {
      case wire::ChecksumVerdict::Kind::kValid:
        return "valid";
      case wire::ChecksumVerdict::Kind::kRetry:
        return "retry";
      case wire::ChecksumVerdict::Kind::kAbort:
        return "abort";
    }
    return "verdict";
  }
};

// The arguments of a request, for the trace.
struct Arguments {
  std::string operator()(const wire::Register& operation) const {
    return absl::StrCat("name=", NameToText(operation.name));
  }
  std::string operator()(const wire::SendPublicKey& operation) const {
    return absl::StrCat("name=", NameToText(operation.name),
                        " key_bytes=", operation.public_key.size());
  }
  std::string operator()(const wire::Reconnect& operation) const {
    return absl::StrCat("name=", NameToText(operation.name));
  }
  std::string operator()(const wire::SendFile& operation) const {
    std::string text =
        absl::StrCat("name=", NameToText(operation.name), " content_size=", operation.content_size,
                     " (", operation.size_style, ")");
    if (operation.blocks_size > 0) absl::StrAppend(&text, " blocks_size=", operation.blocks_size);
    if (operation.packet) {
      absl::StrAppend(&text, " packet=", operation.packet->number, "/", operation.packet->total,
                      " original_size=", operation.packet->original_size);
    }
    return text;
  }
  std::string operator()(const wire::ChecksumVerdict& operation) const {
    return absl::StrCat("name=", NameToText(operation.name));
  }
};

}  // namespace

absl::string_view RequestName(const wire::Operation& operation) {
  return std::visit(Name(), operation);
}

std::string DescribeRequest(absl::string_view head, const wire::Dialect& dialect,
                            const wire::Request& request) {
  const bool has_key = std::holds_alternative<wire::SendPublicKey>(request.operation);
  const absl::string_view shown = head.substr(0, has_key ? dialect.header_size() : kDumpSize);
  return absl::StrCat(RequestName(request.operation), " dialect=", dialect.name(),
                      " version=", request.version, " code=", request.code, " ",
                      std::visit(Arguments(), request.operation),
                      " head=", absl::BytesToHexString(shown));
}

std::string FileStyle(const wire::SendFile& file, bool in_segments) {
  std::string style(file.size_style);
  if (file.packet) style += in_segments ? ", packets, each encrypted" : ", packets of a stream";
  if (file.id_in_front) style += ", id in front";
  return style;
}

std::string OutcomeText(const absl::Status& outcome) {
  if (outcome.ok()) return "ok";
  const std::optional<Reason> reason = ReasonOf(outcome);
  return reason ? std::string(InfoOf(*reason).name) : absl::StatusCodeToString(outcome.code());
}

std::string ErrorText(const absl::Status& outcome) {
  if (outcome.ok()) return "";
  return absl::StrCat(" error=\"", absl::CEscape(std::string(outcome.message())), "\"");
}

std::string OriginText(const Connection& connection) {
  return absl::StrCat("conn=", connection.number(), " peer=", connection.peer());
}

}  // namespace backup::bridge
