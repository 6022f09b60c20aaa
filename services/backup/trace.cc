#include "services/backup/trace.h"

#include <memory>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/descriptor.h"

namespace backup {
namespace {

constexpr size_t kMaxDumpedBytes = 64;

// Replaces every set `bytes` field of the message itself; true if there was one.
bool Redact(google::protobuf::Message& message) {
  bool redacted = false;
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  for (const auto* field : fields) {
    if (field->type() != google::protobuf::FieldDescriptor::TYPE_BYTES || field->is_repeated())
      continue;
    const size_t size = message.GetReflection()->GetString(message, field).size();
    message.GetReflection()->SetString(&message, field, absl::StrCat("<", size, " bytes>"));
    redacted = true;
  }
  return redacted;
}

}  // namespace

std::string TraceText(const google::protobuf::Message& message) {
  const std::unique_ptr<google::protobuf::Message> copy(message.New());
  copy->CopyFrom(message);
  const bool redacted = Redact(*copy);
  std::string text =
      absl::StrCat(message.GetDescriptor()->name(), " {", copy->ShortDebugString(), "}");
  if (redacted) return text;
  const std::string bytes = message.SerializeAsString();
  return absl::StrCat(
      text, " hex=", absl::BytesToHexString(absl::string_view(bytes).substr(0, kMaxDumpedBytes)));
}

std::string RequestText(const google::protobuf::Message& message) {
  const std::unique_ptr<google::protobuf::Message> copy(message.New());
  copy->CopyFrom(message);
  Redact(*copy);
  return copy->ShortDebugString();
}

}  // namespace backup
