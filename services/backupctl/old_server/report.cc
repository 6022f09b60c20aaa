#include "services/backupctl/old_server/report.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace backup::ctl::old_server {
namespace {

const char* NameOf(Result result) {
  switch (result) {
    case Result::kImported:
      return "imported";
    case Result::kKeyAdded:
      return "key_added";
    case Result::kUnchanged:
      return "unchanged";
    case Result::kLeftOut:
      break;
  }
  return "left_out";
}

const char* NameOf(ContentKind kind) {
  return kind == ContentKind::kEncrypted ? "encrypted" : "plain";
}

std::string Seconds(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", time, absl::UTCTimeZone());
}

}  // namespace

std::string Report::TextOf(Result result) const {
  switch (result) {
    case Result::kImported:
      return dry_run_ ? "would be imported" : "imported";
    case Result::kKeyAdded:
      return dry_run_ ? "would get its key" : "got its key";
    case Result::kUnchanged:
      return "is there";
    case Result::kLeftOut:
      break;
  }
  return "left out";
}

void Report::Add(const ClientLine& line) {
  const bool has_keys = line.session_key_bits != 0;
  client_count_ += line.result == Result::kImported ? 1 : 0;
  key_count_ += has_keys && (line.result == Result::kImported || line.result == Result::kKeyAdded);
  unchanged_ += line.result == Result::kUnchanged ? 1 : 0;
  left_out_ += line.result == Result::kLeftOut || line.keys_left_out ? 1 : 0;
  const std::string last_seen = line.last_seen ? Seconds(*line.last_seen) : "not known";
  clients_.AddRow({line.name, line.client_id.empty() ? "-" : line.client_id,
                   has_keys ? absl::StrCat(line.session_key_bits, " bits") : "no", last_seen,
                   TextOf(line.result), line.why});
  if (!output_.json()) return;
  nlohmann::json object = {{"client_id", line.client_id},
                           {"name", line.name},
                           {"has_public_key", has_keys},
                           {"session_key_bits", line.session_key_bits},
                           {"keys_left_out", line.keys_left_out},
                           {"result", NameOf(line.result)},
                           {"why", line.why},
                           {"dry_run", dry_run_}};
  if (line.last_seen) object["last_seen_time"] = JsonTime(*line.last_seen);
  output_.Json(nlohmann::json{{"client", object}});
}

void Report::Add(const FileLine& line) {
  const bool imported = line.result == Result::kImported;
  file_count_ += imported ? 1 : 0;
  bytes_ += imported ? line.size_bytes.value_or(0) : 0;
  unchanged_ += line.result == Result::kUnchanged ? 1 : 0;
  left_out_ += line.result == Result::kLeftOut ? 1 : 0;
  files_.AddRow({line.path, line.client.empty() ? "-" : line.client,
                 line.size_bytes ? HumanSize(*line.size_bytes) : "-",
                 line.content ? NameOf(*line.content) : "-", TextOf(line.result), line.why});
  if (!output_.json()) return;
  nlohmann::json object = {{"path_text", line.path},
                           {"file_name", line.file_name},
                           {"client_name", line.client},
                           {"client_id", line.client_id},
                           {"dry_run", dry_run_},
                           {"result", NameOf(line.result)},
                           {"why", line.why}};
  if (line.size_bytes) object["size_bytes"] = *line.size_bytes;
  if (line.content) object["content"] = NameOf(*line.content);
  if (!line.sha256.empty()) object["sha256"] = absl::BytesToHexString(line.sha256);
  if (line.receive_time) object["receive_time"] = JsonTime(*line.receive_time);
  output_.Json(nlohmann::json{{"file", object}});
}

void Report::AddProblem(absl::string_view what) {
  ++left_out_;
  output_.Problem(what);
}

void Report::Print() {
  if (output_.json()) {
    output_.Json(nlohmann::json{{"summary",
                                 {{"clients", client_count_},
                                  {"keys", key_count_},
                                  {"files", file_count_},
                                  {"bytes", bytes_},
                                  {"unchanged", unchanged_},
                                  {"left_out", left_out_},
                                  {"dry_run", dry_run_}}}});
    return;
  }
  output_.Print(clients_);
  output_.Text("\n");
  output_.Print(files_);
  output_.Text("\n");
  output_.Note(absl::StrCat(dry_run_ ? "would import " : "imported ", client_count_, " clients, ",
                            key_count_, " with keys, and ", file_count_, " files, ",
                            HumanSize(bytes_), "; ", unchanged_, " were there; ", left_out_,
                            " left out"));
}

ExitCode Report::exit_code() const {
  if (left_out_ == 0) return ExitCode::kOk;
  return client_count_ + key_count_ + file_count_ + unchanged_ > 0 ? ExitCode::kPartial
                                                                   : ExitCode::kFailed;
}

}  // namespace backup::ctl::old_server
