#include "services/backupctl/old_server/import.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/exit_code.h"
#include "base/name_text.h"
#include "base/piece_buffers.h"
#include "base/status_macros.h"
#include "crypto/cipher.h"
#include "crypto/sha256.h"
#include "google/protobuf/util/time_util.h"
#include "services/backupctl/old_server/database.h"
#include "services/backupctl/old_server/folder.h"
#include "services/backupctl/old_server/plan.h"
#include "services/backupctl/old_server/report.h"
#include "services/backupctl/transfer.h"

namespace backup::ctl::old_server {
namespace {

using Outcome = v1::ImportClientResponse;

constexpr int kPageSize = 1000;
// Of more clients, none is looked for whose key opens a file: it would take long, and by chance
// there would be some.
constexpr size_t kMaxKeysTried = 1000;
constexpr int kMaxTries = 3;
constexpr absl::Duration kFirstBackOff = absl::Milliseconds(500);

// Who may own files.
struct Owner {
  std::string name;  // As text.
  std::string session_key;
  bool left_out = false;
};
using Owners = std::map<ClientId, Owner>;

google::protobuf::Timestamp ToProto(absl::Time time) {
  return google::protobuf::util::TimeUtil::MicrosecondsToTimestamp(absl::ToUnixMicros(time));
}

// Whether an error is of one client or file, and no reason to end the import.
bool IsOfOne(const absl::Status& status) {
  switch (ReasonOf(status).value_or(Reason::kBackendDown)) {
    case Reason::kInvalidField:
    case Reason::kSizeLimit:
    case Reason::kNameTaken:
    case Reason::kRekeyRefused:
    case Reason::kClientNotFound:
    case Reason::kVersionNotFound:
    case Reason::kContentRejected:
    case Reason::kClientQuota:
      return true;
    default:
      return false;
  }
}

// Clients.

v1::ImportClientRequest RequestOf(const Client& client, bool dry_run) {
  v1::ImportClientRequest request;
  request.set_client_id(ToUuid(client.id));
  request.set_name(NameToText(client.name));
  request.set_validate_only(dry_run);
  if (client.last_seen) *request.mutable_last_seen_time() = ToProto(*client.last_seen);
  if (client.public_key.empty()) return request;
  request.set_public_key(client.public_key);
  request.set_session_key(client.session_key);
  // Two families share their codes; the size of the key tells them apart, whatever the bridge's
  // port. A client of another family shows at its first request that it is.
  request.mutable_legacy_profile()->set_family(client.session_key.size() == 32 ? "D" : "C");
  return request;
}

class ClientImport {
 public:
  ClientImport(Connection& connection, bool dry_run, Owners& owners, Report& report)
      : connection_(connection), dry_run_(dry_run), owners_(owners), report_(report) {}

  absl::Status Run(const Rows& rows) {
    for (const Client& client : rows.clients) {
      RETURN_IF_ERROR(connection_.interrupt().Check());
      RETURN_IF_ERROR(Take(client));
    }
    for (const LeftOut& row : rows.left_out) {
      if (row.kind != LeftOut::Kind::kClient) continue;
      ClientLine line;
      line.name = row.subject;
      line.result = Result::kLeftOut;
      line.why = row.why;
      report_.Add(line);
    }
    return absl::OkStatus();
  }

 private:
  absl::Status Take(const Client& client) {
    ClientLine line;
    line.name = NameToText(client.name);
    line.client_id = ToUuid(client.id);
    line.last_seen = client.last_seen;
    if (!client.public_key.empty())
      line.session_key_bits = static_cast<int>(client.session_key.size()) * 8;
    line.keys_left_out = !client.key_problem.empty();
    line.why = line.keys_left_out ? client.key_problem : client.note;
    const auto response =
        connection_.CallUnary(connection_.admin(), &v1::AdminService::StubInterface::ImportClient,
                              RequestOf(client, dry_run_));
    if (!response.ok() && !IsOfOne(response.status())) return response.status();
    line.result = response.ok() ? ResultOf(response->outcome()) : Result::kLeftOut;
    if (!response.ok()) line.why = std::string(response.status().message());
    // Nothing was added that the service could have compared the next one with.
    if (dry_run_ && line.result == Result::kImported && !names_.insert(client.name).second) {
      line.result = Result::kLeftOut;
      line.why = "a client before it has this name; only --duplicate_names=allow would keep both";
    }
    owners_[client.id].left_out = line.result == Result::kLeftOut;
    report_.Add(line);
    return absl::OkStatus();
  }

  static Result ResultOf(Outcome::Outcome outcome) {
    if (outcome == Outcome::UNCHANGED) return Result::kUnchanged;
    return outcome == Outcome::KEY_ADDED ? Result::kKeyAdded : Result::kImported;
  }

  Connection& connection_;
  const bool dry_run_;
  Owners& owners_;
  Report& report_;
  std::set<std::string> names_;
};

// Owners that the operator tells.

// The client of the old database that `text` means, an id or a name as text. Nothing if there is
// none; InvalidArgument if there are several.
absl::StatusOr<std::optional<ClientId>> FindInDatabase(const Owners& owners,
                                                       absl::string_view text) {
  if (const auto id = FromUuid<ClientId>(text); id && owners.count(*id) > 0) return id;
  std::optional<ClientId> found;
  for (const auto& [id, owner] : owners) {
    if (owner.name != text) continue;
    if (found) {
      return absl::InvalidArgumentError(
          absl::StrCat("--owner: several clients are called ", text, ": give the id of one"));
    }
    found = id;
  }
  return found;
}

absl::StatusOr<OwnerRule> ParseOwner(Connection& connection, const std::string& text,
                                     Owners& owners) {
  // A name may have a "=" in it.
  std::vector<std::pair<std::string, std::string>> readings = {{text, ""}};
  for (size_t at = text.rfind('='); at != std::string::npos && at > 0;
       at = text.rfind('=', at - 1)) {
    readings.emplace_back(text.substr(0, at), text.substr(at + 1));
  }
  for (const auto& [client, pattern] : readings) {
    ASSIGN_OR_RETURN(const std::optional<ClientId> id, FindInDatabase(owners, client));
    if (id) return OwnerRule{*id, pattern};
  }
  for (const auto& [client, pattern] : readings) {
    const absl::StatusOr<v1::Client> found = connection.FindClient(client);
    if (!found.ok() && ReasonOf(found.status()) != Reason::kClientNotFound &&
        ReasonOf(found.status()) != Reason::kInvalidField) {
      return found.status();
    }
    const auto id = found.ok() ? FromUuid<ClientId>(found->client_id()) : std::nullopt;
    if (!id) continue;
    owners[*id].name = found->name();
    return OwnerRule{*id, pattern};
  }
  return absl::NotFoundError(absl::StrCat("--owner: there is no client ", text,
                                          ", neither in the old database nor at the "
                                          "service"));
}

// Files.

struct FileToImport : PlannedFile {
  explicit FileToImport(const PlannedFile& planned) : PlannedFile(planned) {}
  ClientId key_of;  // Under whose key it is, if it is encrypted.
};

// The plaintext of a file.
class Plaintext {
 public:
  Plaintext(const StoredFile& file, ContentKind kind, absl::string_view key)
      : raw_(file, budget_, 0, file.size_bytes()) {
    if (kind != ContentKind::kEncrypted) return;
    decrypted_.emplace(raw_, budget_, file.size_bytes(),
                       std::make_unique<crypto::CbcDecryptor>(key));
  }
  ByteSource& source() {
    return decrypted_ ? static_cast<ByteSource&>(*decrypted_) : static_cast<ByteSource&>(raw_);
  }

 private:
  PieceBudget budget_;
  RangeSource raw_;
  std::optional<crypto::DecryptSource> decrypted_;
};

class FileImport {
 public:
  FileImport(Connection& connection, Output& output, const ImportOptions& options,
             const Folder& folder, const Owners& owners, Report& report)
      : connection_(connection),
        output_(output),
        options_(options),
        folder_(folder),
        owners_(owners),
        report_(report) {}

  absl::Status Run(const std::vector<PlannedFile>& planned) {
    std::vector<FileToImport> files(planned.begin(), planned.end());
    std::vector<Evidence> evidence(files.size());
    for (size_t i = 0; i < files.size(); ++i) {
      RETURN_IF_ERROR(connection_.interrupt().Check());
      evidence[i] = Look(files[i]);
    }
    for (size_t i = 0; i < files.size(); ++i) {
      RETURN_IF_ERROR(connection_.interrupt().Check());
      RETURN_IF_ERROR(Take(files[i], evidence[i]));
    }
    return absl::OkStatus();
  }

 private:
  // Finds out what a file is, and whether it can be taken over at all: `file.why`.
  Evidence Look(FileToImport& file) {
    if (!file.claimants.empty()) ChooseClaimant(file);
    if (!file.why.empty()) {
      const std::optional<ClientId> holder = file.owner ? std::nullopt : FindKeyHolder(file);
      if (holder) absl::StrAppend(&file.why, "; it opens with the key of ", Describe(*holder));
      return {};
    }
    ChooseOwner(file);
    if (!file.why.empty()) return {};
    absl::StatusOr<Evidence> found = ExamineFor(file, file.key_of);
    if (found.ok() && found->looks_encrypted && !options_.content && ChooseOtherKey(file))
      found = ExamineFor(file, file.key_of);
    if (!found.ok()) file.why = std::string(found.status().message());
    if (!file.why.empty()) return {};
    some_encrypted_ |= found->kind == ContentKind::kEncrypted && !found->could_be_both;
    some_plain_ |=
        found->kind == ContentKind::kPlain && !found->could_be_both && !found->looks_encrypted;
    return *found;
  }

  // The client of its row, or, if that is not here, the one that a rule tells.
  void ChooseOwner(FileToImport& file) const {
    file.key_of = *file.owner;
    const auto owner = owners_.find(*file.owner);
    if (owner != owners_.end() && !owner->second.left_out) return;
    const std::string why = owner == owners_.end()
                                ? absl::StrCat("its client ", ToUuid(*file.owner), " has no row")
                                : "its client was left out";
    const auto other = file.owner_by_rule ? owners_.find(*file.owner_by_rule) : owners_.end();
    if (other == owners_.end() || other->second.left_out) {
      file.why = absl::StrCat(why, ": --owner gives it to another");
      return;
    }
    if (owner == owners_.end()) file.key_of = *file.owner_by_rule;
    file.owner = file.owner_by_rule;
    file.note = why;
  }

  // Of a file that is not encrypted under the key that it should be: looks for another one. That of
  // another client of its owner's name is as good: who registered again had one before. Else the
  // file is left out. Whether there is such a key.
  bool ChooseOtherKey(FileToImport& file) const {
    const std::optional<ClientId> holder = FindKeyHolder(file);
    if (!holder) return false;
    file.key_of = *holder;
    if (owners_.at(*holder).name != owners_.at(*file.owner).name) {
      file.why = absl::StrCat("opens with the key of ", Describe(*holder),
                              ", not with its client's; --content=plain takes it as it is");
    }
    return true;
  }

  std::string Describe(const ClientId& client) const {
    return absl::StrCat(owners_.at(client).name, " (", ToUuid(client), ")");
  }

  absl::StatusOr<Evidence> ExamineFor(const PlannedFile& file, const ClientId& client) const {
    ASSIGN_OR_RETURN(const std::unique_ptr<StoredFile> stored, folder_.OpenFile(file.path));
    return Examine(*stored, owners_.at(client).session_key);
  }

  // The one client whose key, beyond doubt, opens the file.
  std::optional<ClientId> FindKeyHolder(const PlannedFile& file) const {
    std::optional<ClientId> holder;
    if (owners_.size() > kMaxKeysTried) return holder;
    const auto stored = folder_.OpenFile(file.path);
    if (!stored.ok()) return holder;
    for (const auto& [id, owner] : owners_) {
      if (owner.session_key.empty()) continue;
      const absl::StatusOr<Evidence> evidence = Examine(**stored, owner.session_key);
      if (!evidence.ok() || !evidence->fits_key || evidence->could_be_both) continue;
      if (holder) return std::nullopt;
      holder = id;
    }
    return holder;
  }

  // A file that several clients claim is the one's under whose key, and no other's, it is.
  void ChooseClaimant(FileToImport& file) const {
    std::vector<ClientId> fitting;
    for (const ClientId& client : file.claimants) {
      if (owners_.count(client) == 0) continue;
      const absl::StatusOr<Evidence> evidence = ExamineFor(file, client);
      if (evidence.ok() && evidence->fits_key && !evidence->could_be_both)
        fitting.push_back(client);
    }
    if (fitting.size() != 1) return;
    file.owner = fitting.front();
    file.why.clear();
    file.note = "rows of several clients name it; it is encrypted under this one's key";
  }

  // What the file is; notes what is to be told of that, or why it cannot be taken over.
  ContentKind Decide(const Evidence& evidence, FileToImport& file) const {
    if (options_.content == ContentKind::kEncrypted && !evidence.fits_key)
      file.why = "is not encrypted under its client's key";
    if (options_.content) return *options_.content;
    ContentKind kind = evidence.kind;
    if (evidence.undecided && some_plain_ && !some_encrypted_) kind = ContentKind::kPlain;
    std::string note;
    if (evidence.could_be_both) {
      note = absl::StrCat("could be plain or encrypted, taken as ",
                          kind == ContentKind::kEncrypted ? "encrypted" : "plain",
                          evidence.undecided ? " like the others" : " by what is in it",
                          ": --content tells");
    } else if (evidence.looks_encrypted && some_encrypted_) {
      note = "may be encrypted, but not under its client's key: taken as it is";
    }
    if (!note.empty()) file.note = file.note.empty() ? note : absl::StrCat(file.note, "; ", note);
    return kind;
  }

  absl::Status Take(FileToImport& file, const Evidence& evidence) {
    FileLine line;
    line.path = NameToText(file.path);
    line.file_name = NameToText(file.name);
    if (file.owner) {
      line.client_id = ToUuid(*file.owner);
      const auto owner = owners_.find(*file.owner);
      if (owner != owners_.end()) line.client = owner->second.name;
    }
    if (file.why.empty()) line.content = Decide(evidence, file);
    if (file.why.empty()) {
      const absl::Status done = Transfer(file, line);
      if (!done.ok() && !IsOfOne(done) && !absl::IsFailedPrecondition(done) &&
          !absl::IsNotFound(done)) {
        return done;
      }
      file.why = std::string(done.message());
    }
    if (!file.why.empty()) line.result = Result::kLeftOut;
    line.why = file.why.empty() ? file.note : file.why;
    report_.Add(line);
    return absl::OkStatus();
  }

  // FailedPrecondition if the file itself cannot be taken over.
  absl::Status Transfer(const FileToImport& file, FileLine& line) {
    ASSIGN_OR_RETURN(const std::unique_ptr<StoredFile> stored, folder_.OpenFile(file.path));
    const std::string& key = owners_.at(file.key_of).session_key;
    crypto::Sha256 sha256;
    int64_t size_bytes = 0;
    Plaintext plaintext(*stored, *line.content, key);
    while (true) {
      RETURN_IF_ERROR(connection_.interrupt().Check());
      ASSIGN_OR_RETURN(const absl::string_view piece, plaintext.source().Read());
      if (piece.empty()) break;
      sha256.Update(piece);
      size_bytes += static_cast<int64_t>(piece.size());
    }
    line.size_bytes = size_bytes;
    line.sha256 = sha256.Finish();
    line.receive_time = stored->change_time();
    ASSIGN_OR_RETURN(const bool is_there, IsThere(line));
    if (is_there) line.result = Result::kUnchanged;
    if (is_there || options_.dry_run) return absl::OkStatus();
    return UploadFile(*stored, key, line);
  }

  // Whether the service has the same content as a confirmed version. FailedPrecondition if it does
  // not, but has one that the client sent later.
  absl::StatusOr<bool> IsThere(const FileLine& line) {
    v1::ListVersionsRequest request;
    request.set_client_id(line.client_id);
    request.set_file_name(line.file_name);
    request.set_page_size(kPageSize);
    std::optional<google::protobuf::Timestamp> newest;
    do {
      const auto page = connection_.CallUnary(
          connection_.catalog(), &v1::CatalogService::StubInterface::ListVersions, request);
      if (ReasonOf(page.status()) == Reason::kFileNotFound ||
          ReasonOf(page.status()) == Reason::kClientNotFound) {
        return false;
      }
      RETURN_IF_ERROR(page.status());
      for (const v1::FileVersion& version : page->versions()) {
        if (version.state() != v1::FileVersion::VERIFIED) continue;
        if (version.sha256() == line.sha256) return true;
        if (!newest) newest = version.receive_time();
      }
      request.set_page_token(page->next_page_token());
    } while (!request.page_token().empty());
    if (newest && google::protobuf::util::TimeUtil::TimestampToMicroseconds(*newest) >
                      absl::ToUnixMicros(*line.receive_time)) {
      return absl::FailedPreconditionError(
          absl::StrCat("the service has a newer version, of ", TimeText(*newest)));
    }
    return false;
  }

  // The same content of the same file is the same upload, however often it is tried.
  static std::string UploadIdOf(const FileLine& line) {
    crypto::Sha256 sha256;
    sha256.Update(absl::StrCat("import:", line.client_id, ":", line.file_name, ":", line.sha256));
    return ToUuidText(absl::string_view(sha256.Finish()).substr(0, UploadId::kSize));
  }

  absl::Status UploadFile(const StoredFile& stored, const std::string& key, const FileLine& line) {
    v1::UploadFileHeader header;
    header.set_client_id(line.client_id);
    header.set_file_name(line.file_name);
    header.set_encoding(v1::UploadFileHeader::IDENTITY);
    header.set_encoded_size(*line.size_bytes);
    header.set_upload_id(UploadIdOf(line));
    *header.mutable_receive_time() = ToProto(*line.receive_time);
    absl::Duration back_off = kFirstBackOff;
    for (int attempt = 1;; ++attempt) {
      const absl::Status done = UploadOnce(stored, key, header, line);
      if (!absl::IsUnavailable(done) || attempt == kMaxTries) return done;
      if (connection_.interrupt().WaitFor(back_off)) return connection_.interrupt().Check();
      back_off *= 2;
    }
  }

  absl::Status UploadOnce(const StoredFile& stored, const std::string& key,
                          const v1::UploadFileHeader& header, const FileLine& line) {
    ProgressBar progress(output_.progress(), line.path, *line.size_bytes);
    Plaintext plaintext(stored, *line.content, key);
    UploadMeasures measures;
    ASSIGN_OR_RETURN(const v1::UploadFileResponse response,
                     Upload(connection_, header, plaintext.source(), measures, progress));
    // The checksum may be wrong on purpose (--debug); this never is.
    if (response.version().sha256() == line.sha256)
      return ctl::Report(connection_, header, v1::ReportTransferRequest::VERIFIED);
    v1::DeleteVersionRequest request;
    request.set_client_id(header.client_id());
    request.set_file_name(header.file_name());
    request.set_version_id(response.version().version_id());
    RETURN_IF_ERROR(connection_
                        .CallUnary(connection_.catalog(),
                                   &v1::CatalogService::StubInterface::DeleteVersion, request)
                        .status());
    return absl::FailedPreconditionError("changed while it was read");
  }

  Connection& connection_;
  Output& output_;
  const ImportOptions& options_;
  const Folder& folder_;
  const Owners& owners_;
  old_server::Report& report_;
  bool some_encrypted_ = false;  // Beyond doubt.
  bool some_plain_ = false;      // The same.
};

absl::Status ImportAll(Connection& connection, Output& output, const ImportOptions& options,
                       Report& report) {
  ASSIGN_OR_RETURN(const Database database, ReadDatabase(options.database, connection.interrupt()));
  for (const std::string& problem : database.problems) report.AddProblem(problem);
  for (const std::string& note : database.notes) output.Problem(note);
  ASSIGN_OR_RETURN(const Rows rows, ReadRows(database, options.columns, options.zone));
  ASSIGN_OR_RETURN(const Folder folder, Folder::Open(options.folder, options.database));
  Owners owners;
  for (const Client& client : rows.clients)
    owners[client.id] = {NameToText(client.name), client.session_key};
  std::vector<OwnerRule> rules;
  for (const std::string& text : options.owners) {
    ASSIGN_OR_RETURN(rules.emplace_back(), ParseOwner(connection, text, owners));
  }
  ASSIGN_OR_RETURN(const std::vector<PlannedFile> files, PlanFiles(rows, folder, rules));
  RETURN_IF_ERROR(ClientImport(connection, options.dry_run, owners, report).Run(rows));
  for (const LeftOut& row : rows.left_out) {
    // One whose file is there is told with that.
    if (row.kind != LeftOut::Kind::kFile || folder.Find(row.path).ok()) continue;
    FileLine line;
    line.path = line.file_name = row.subject;
    line.result = Result::kLeftOut;
    line.why = row.why;
    report.Add(line);
  }
  return FileImport(connection, output, options, folder, owners, report).Run(files);
}

}  // namespace

absl::StatusOr<ExitCode> Import(Connection& connection, Output& output,
                                const ImportOptions& options) {
  Report report(output, options.dry_run);
  const absl::Status done = ImportAll(connection, output, options, report);
  if (!done.ok() && report.is_empty()) return done;
  report.Print();
  if (done.ok()) return report.exit_code();
  return WithMessage(
      done, absl::StrCat(done.message(), "; the import is not complete: the same again goes on"));
}

}  // namespace backup::ctl::old_server
