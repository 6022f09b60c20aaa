#include "bridge/wire/dialect.h"

#include <algorithm>

#include "bridge/wire/compiled_dialect.h"

namespace backup::wire {

absl::string_view Dialect::name() const { return compiled_->name; }
absl::string_view Dialect::source() const { return compiled_->source; }
size_t Dialect::header_size() const { return compiled_->request_header.size; }
const PaddingTraits& Dialect::padding() const { return compiled_->padding; }
const ContentTraits& Dialect::content() const { return compiled_->content; }
RetryAnswer Dialect::retry_answer() const { return compiled_->retry_answer; }
bool Dialect::LooksUpZeroIds() const { return compiled_->looks_up_zero_ids; }

bool Dialect::EndsConnection(uint32_t version, bool padded) const {
  return compiled_->ends_connection && (padded || !compiled_->ends_only_if_padded) &&
         HasOrIsEmpty(compiled_->end_versions, version);
}

bool Dialect::IsCalled(absl::string_view name) const {
  return name == compiled_->name ||
         std::any_of(compiled_->labels.begin(), compiled_->labels.end(),
                     [&](const CompiledLabel& label) { return label.name == name; });
}

bool Dialect::IsPreferredOn(int port, const Dialect& other) const {
  if (other.compiled_->SaysSameAs(name())) return !other.compiled_->Names(port);
  return compiled_->SaysSameAs(other.name()) && compiled_->Names(port);
}

bool Dialect::IsAtHomeOn(int port) const { return compiled_->Names(port); }

absl::string_view NameOf(RequestKind kind) {
  switch (kind) {
    case RequestKind::kRegister:
      return "REGISTER";
    case RequestKind::kPublicKey:
      return "PUBLIC_KEY";
    case RequestKind::kReconnect:
      return "RECONNECT";
    case RequestKind::kFile:
      return "FILE";
    case RequestKind::kValid:
      return "VALID";
    case RequestKind::kRetry:
      return "RETRY";
    case RequestKind::kAbort:
      return "ABORT";
  }
  return "";
}

}  // namespace backup::wire
