#include "bridge/wire/dialect_conflicts.h"

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "bridge/wire/compiled_dialect.h"
#include "bridge/wire/integers.h"
#include "bridge/wire/sample_requests.h"

namespace backup::wire {
namespace {

// Reads samples of some dialects by others.
class ConflictFinder {
 public:
  explicit ConflictFinder(absl::Span<const Dialect> dialects) : dialects_(dialects) {
    std::set<uint32_t> versions = {1, 2, 3};
    for (const Dialect& dialect : dialects) {
      versions.insert(dialect.compiled().versions.begin(), dialect.compiled().versions.end());
      versions.insert(dialect.compiled().not_versions.begin(),
                      dialect.compiled().not_versions.end());
    }
    versions_.assign(versions.begin(), versions.end());
  }

  absl::Status Check() {
    CheckNames();
    for (const Dialect& dialect : dialects_) {
      for (const Dialect& other : dialects_) {
        if (&dialect == &other || AreTold(dialect, other)) continue;
        CheckPair(dialect, other);
        CheckIds(dialect, other);
      }
    }
    if (errors_.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrJoin(errors_, "\n"));
  }

 private:
  void CheckNames() {
    for (const Dialect& dialect : dialects_) {
      for (const Dialect& other : dialects_) {
        if (&other < &dialect && other.IsCalled(dialect.name()))
          Add(dialect, absl::StrCat("a dialect ", dialect.name(), " is there already"));
        for (const CompiledLabel& label : dialect.compiled().labels) {
          if (&other != &dialect && other.IsCalled(label.name))
            Add(dialect, absl::StrCat("the label ", label.name, " is that of another dialect"));
        }
      }
      for (const std::string& name : dialect.compiled().same_requests_as) {
        const bool is_there = std::any_of(dialects_.begin(), dialects_.end(),
                                          [&](const Dialect& one) { return one.name() == name; });
        if (!is_there)
          Add(dialect, absl::StrCat("same_requests_as names ", name, ", which is not there"));
      }
    }
  }

  // Whether one of them says that their requests look the same.
  static bool AreTold(const Dialect& dialect, const Dialect& other) {
    return dialect.compiled().SaysSameAs(other.name()) ||
           other.compiled().SaysSameAs(dialect.name());
  }

  void CheckPair(const Dialect& dialect, const Dialect& other) {
    for (const SampleRequest& sample : SampleRequestsOf(dialect, versions_)) {
      // Whatever follows the head.
      std::string bytes = sample.head;
      bytes.resize(kMaxHeadSize);
      const std::optional<RequestHeader> header = other.DecodeHeader(bytes);
      if (!header || !other.Claims(*header)) continue;
      const auto theirs = other.DecodeHead(bytes);
      if (!theirs.ok() || !theirs->has_value()) continue;
      const auto ours = dialect.DecodeHead(bytes);
      if (!ours.ok() || !ours->has_value() || AreSame(dialect, **ours, other, **theirs)) continue;
      return Add(
          std::max(&dialect, &other) == &dialect ? dialect : other,
          absl::StrCat("request ", sample.code, " of version ", sample.version, " (",
                       NameOf(sample.kind), " in ", dialect.name(), ", ",
                       NameOf(other.compiled().FindRequest((*theirs)->request.code)->kind), " in ",
                       other.name(),
                       ") looks the same in both, but is read or answered differently; if only "
                       "a client's record can tell them apart, say same_requests_as"));
    }
  }

  // Whether a client's id, in a request of `dialect`, may look like a code of `other`. The bytes of
  // ids that are given out are random, but not below 16; those of a registration mean nothing and
  // are mostly zeros.
  void CheckIds(const Dialect& dialect, const Dialect& other) {
    constexpr unsigned char kLeastByteOfIds = 0x10;
    const Field* const id = dialect.compiled().request_header.Find(FieldKind::kClientId);
    const Field* const code_field = other.compiled().request_header.Find(FieldKind::kCode);
    if (id == nullptr || id->text != TextEncoding::kBinary || code_field->offset < id->offset ||
        code_field->offset + code_field->width > id->offset + id->width) {
      return;
    }
    for (const SampleRequest& sample : SampleRequestsOf(dialect, versions_)) {
      if (sample.kind == RequestKind::kRegister) continue;
      for (const CompiledDialect::Code& code : other.compiled().codes) {
        std::string bytes;
        AppendInteger(code.code, code_field->width, code_field->big_endian, bytes);
        const bool may_be = std::all_of(bytes.begin(), bytes.end(), [](char byte) {
          return static_cast<unsigned char>(byte) >= kLeastByteOfIds;
        });
        std::string head = sample.head;
        head.replace(code_field->offset, code_field->width, bytes);
        const std::optional<RequestHeader> header = other.DecodeHeader(head);
        if (!may_be || !header || !other.Claims(*header)) continue;
        return Add(std::max(&dialect, &other) == &dialect ? dialect : other,
                   absl::StrCat("code ", code.code, " of ", other.name(),
                                " may stand where requests of ", dialect.name(),
                                " have the client's id; a CONSTANT in the header, or its versions, "
                                "can tell them apart"));
      }
    }
  }

  // Whether it does not matter for a request which of two dialects it is of.
  static bool AreSame(const Dialect& dialect, const DecodedHead& ours, const Dialect& other,
                      const DecodedHead& theirs) {
    const auto kind = [](const Dialect& one, const DecodedHead& head) {
      return one.compiled().FindRequest(head.request.code)->kind;
    };
    const RequestKind ours_kind = kind(dialect, ours);
    if (ours_kind != kind(other, theirs) || ours_kind == RequestKind::kFile) return false;
    if (ours.head_size != theirs.head_size || ours.request.client_id != theirs.request.client_id)
      return false;
    const SessionKeyForm& key = dialect.compiled().session_key;
    const SessionKeyForm& their_key = other.compiled().session_key;
    if (ours_kind != RequestKind::kValid && ours_kind != RequestKind::kRetry &&
        ours_kind != RequestKind::kAbort &&
        (key.bits != their_key.bits || key.pkcs1_v15 != their_key.pkcs1_v15)) {
      return false;
    }
    if (dialect.LooksUpZeroIds() != other.LooksUpZeroIds() ||
        (ours_kind == RequestKind::kRetry && dialect.retry_answer() != other.retry_answer()) ||
        !EndTheSame(dialect, other, ours.request.version)) {
      return false;
    }
    for (const Reply& reply : RepliesTo(ours_kind)) {
      if (dialect.EncodeReply(reply, &ours.request) != other.EncodeReply(reply, &theirs.request))
        return false;
    }
    return true;
  }

  // Whether connections end the same, of clients that pad and of clients that do not.
  static bool EndTheSame(const Dialect& dialect, const Dialect& other, uint32_t version) {
    for (const bool pads : {false, true}) {
      const PaddingUse impossible = pads ? PaddingUse::kNever : PaddingUse::kAlways;
      if (dialect.padding().requests == impossible || other.padding().requests == impossible)
        continue;
      if (dialect.EndsConnection(version, pads) != other.EndsConnection(version, pads))
        return false;
    }
    const PaddingUse ours = dialect.padding().answers;
    const PaddingUse theirs = other.padding().answers;
    return ours == theirs || ours == PaddingUse::kByClient || theirs == PaddingUse::kByClient;
  }

  static std::vector<Reply> RepliesTo(RequestKind kind) {
    const ClientId id = *ClientId::FromBytes("fedcba9876543210");
    switch (kind) {
      case RequestKind::kRegister:
        return {Registered{id}, RegistrationFailed{}, GeneralError{}};
      case RequestKind::kPublicKey:
        return {KeyAccepted{id, "key"}, GeneralError{}};
      case RequestKind::kReconnect:
        return {Reconnected{id, "key"}, ReconnectDenied{id}, GeneralError{}};
      default:
        return {Acknowledged{id}, GeneralError{}};
    }
  }

  void Add(const Dialect& dialect, absl::string_view what) {
    errors_.push_back(absl::StrCat(dialect.compiled().where, ": ", what));
  }

  const absl::Span<const Dialect> dialects_;
  std::vector<uint32_t> versions_;
  std::vector<std::string> errors_;
};

}  // namespace

absl::Status CheckConflicts(absl::Span<const Dialect> dialects) {
  return ConflictFinder(dialects).Check();
}

}  // namespace backup::wire
