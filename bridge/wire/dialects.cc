#include "bridge/wire/dialects.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "bridge/wire/built_in_texts.h"
#include "bridge/wire/dialect_conflicts.h"
#include "glog/logging.h"

namespace backup::wire {
namespace {

constexpr char kDefaultDialect[] = "C";

DialectMask Bit(size_t index) { return DialectMask{1} << index; }

}  // namespace

absl::Span<const Dialect> BuiltInDialects() {
  static const auto& dialects = *[] {
    auto* const parsed = new std::vector<Dialect>();
    for (const BuiltInText& built_in : kBuiltInTexts) {
      absl::StatusOr<Dialect> dialect = ParseDialect(built_in.text, built_in.file_name);
      CHECK(dialect.ok()) << dialect.status();
      parsed->push_back(*std::move(dialect));
    }
    return parsed;
  }();
  return dialects;
}

absl::StatusOr<DialectSet> DialectSet::Make(std::vector<Dialect> further, Options options) {
  const absl::Span<const Dialect> built_in = BuiltInDialects();
  std::vector<Dialect> dialects(built_in.begin(), built_in.end());
  std::move(further.begin(), further.end(), std::back_inserter(dialects));
  if (dialects.size() > kMaxDialects) {
    return absl::InvalidArgumentError(
        absl::StrCat(dialects.size(), " dialects, with those that are built in; at most ",
                     kMaxDialects, " can be served"));
  }
  if (const absl::Status conflicts = CheckConflicts(dialects); !conflicts.ok()) return conflicts;
  return DialectSet(std::move(dialects), std::move(options));
}

DialectMask DialectSet::all() const {
  return dialects_.size() == kMaxDialects ? ~DialectMask{0} : Bit(dialects_.size()) - 1;
}

DialectSet::Candidates DialectSet::FindCandidates(absl::string_view bytes,
                                                  DialectMask among) const {
  Candidates found;
  for (size_t i = 0; i < dialects_.size(); ++i) {
    if ((among & Bit(i)) == 0) continue;
    const std::optional<RequestHeader> header = dialects_[i].DecodeHeader(bytes);
    if (!header) {
      if (dialects_[i].MayClaim(bytes)) found.need_more |= Bit(i);
    } else if (dialects_[i].Claims(*header)) {
      found.claiming |= Bit(i);
    }
  }
  return found;
}

const Dialect* DialectSet::FindByName(absl::string_view name) const {
  const auto found = std::find_if(dialects_.begin(), dialects_.end(),
                                  [&](const Dialect& dialect) { return dialect.IsCalled(name); });
  return found == dialects_.end() ? nullptr : &*found;
}

const Dialect& DialectSet::Prefer(DialectMask candidates) const {
  const Dialect* chosen = nullptr;
  for (size_t i = 0; i < dialects_.size(); ++i) {
    if ((candidates & Bit(i)) == 0) continue;
    const Dialect& dialect = dialects_[i];
    if (!options_.preferred.empty() && dialect.IsCalled(options_.preferred)) return dialect;
    if (chosen == nullptr || dialect.IsPreferredOn(options_.port, *chosen)) chosen = &dialect;
  }
  CHECK(chosen != nullptr);
  return *chosen;
}

DialectMask DialectSet::MaskOf(const Dialect& dialect) const {
  return Bit(static_cast<size_t>(&dialect - dialects_.data()));
}

const Dialect& DialectSet::default_dialect() const { return *FindByName(kDefaultDialect); }

absl::string_view DetectForeignProtocol(absl::string_view bytes) {
  if (absl::StartsWith(bytes, "PRI * HTTP/2")) return "HTTP/2";
  for (const char* method :
       {"GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "OPTIONS ", "CONNECT ", "PATCH ", "TRACE "}) {
    if (absl::StartsWith(bytes, method)) return "HTTP/1";
  }
  // A TLS record of type handshake, version 3.x, carrying a ClientHello.
  constexpr char kHandshakeRecord[] = "\x16\x03";
  constexpr size_t kHandshakeTypeAt = 5;
  if (absl::StartsWith(bytes, kHandshakeRecord) && bytes.size() > kHandshakeTypeAt &&
      bytes[kHandshakeTypeAt] == 1) {
    return "TLS";
  }
  return "";
}

}  // namespace backup::wire
