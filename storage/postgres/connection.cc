#include "storage/postgres/connection.h"

#include <libpq-fe.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/name_text.h"
#include "base/status_macros.h"
#include "glog/logging.h"

namespace backup::storage::postgres {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;
using Result = std::unique_ptr<pg_result, void (*)(pg_result*)>;

// Object ids of types, the same in every database: src/include/catalog/pg_type.dat.
constexpr uint32_t kBool = 16;
constexpr uint32_t kBytea = 17;
constexpr uint32_t kInt8 = 20;
constexpr uint32_t kByteaArray = 1001;
constexpr uint32_t kInt8Array = 1016;
constexpr int kBinary = 1;
// As PQserverVersion() tells it: the oldest one that is tested, Debian 12's.
constexpr int kMajor = 10'000;
constexpr int kOldestServer = 15 * kMajor;

SteadyTime After(absl::Duration timeout) {
  return std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(timeout);
}

int MillisecondsTo(SteadyTime end) {
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
  return static_cast<int>(std::clamp<int64_t>(left.count(), 0, 1'000'000));
}

void AppendBigEndian(uint64_t number, int bytes, std::string& out) {
  for (int i = bytes - 1; i >= 0; --i) out.push_back(static_cast<char>(number >> (8 * i)));
}

std::string Int8Bytes(int64_t value) {
  std::string bytes;
  AppendBigEndian(static_cast<uint64_t>(value), 8, bytes);
  return bytes;
}

// array_send() in src/backend/utils/adt/arrayfuncs.c: dimensions, whether there are NULLs, the
// elements' type; of each dimension its size and first index; each element with its size.
std::string ArrayHeader(uint32_t element_type, size_t size, bool has_nulls = false) {
  std::string bytes;
  AppendBigEndian(size == 0 ? 0 : 1, 4, bytes);
  AppendBigEndian(has_nulls ? 1 : 0, 4, bytes);
  AppendBigEndian(element_type, 4, bytes);
  if (size == 0) return bytes;
  AppendBigEndian(size, 4, bytes);
  AppendBigEndian(1, 4, bytes);
  return bytes;
}

// An element that is NULL: its size.
constexpr uint64_t kNullElement = 0xFFFFFFFF;

// Connections to several hosts that are being made at the same time.
class Race {
 public:
  explicit Race(const std::vector<ConnectionParameters>& hosts) {
    for (const ConnectionParameters& host : hosts) Start(host);
  }
  ~Race() {
    for (const Runner& runner : runners_) PQfinish(runner.connection);
  }
  Race(const Race&) = delete;
  Race& operator=(const Race&) = delete;

  // The first that is made; null if none is by `end`.
  pg_conn* Run(SteadyTime end) {
    while (!runners_.empty()) {
      std::vector<struct pollfd> sockets;
      for (const Runner& runner : runners_) {
        const short events = runner.waits_for == PGRES_POLLING_READING ? POLLIN : POLLOUT;
        sockets.push_back({PQsocket(runner.connection), events, 0});
      }
      const int ready = ::poll(sockets.data(), sockets.size(), MillisecondsTo(end));
      if (ready < 0 && errno == EINTR) continue;
      if (ready <= 0) break;
      if (pg_conn* const winner = Advance(sockets)) return winner;
    }
    if (!runners_.empty()) absl::StrAppend(&errors_, "\nthe server does not answer in time");
    return nullptr;
  }
  const std::string& errors() const { return errors_; }

 private:
  struct Runner {
    pg_conn* connection;
    PostgresPollingStatusType waits_for;
  };

  void Start(const ConnectionParameters& host) {
    std::vector<const char*> keywords;
    std::vector<const char*> values;
    for (const auto& [keyword, value] : host) {
      keywords.push_back(keyword.c_str());
      values.push_back(value.c_str());
    }
    keywords.push_back(nullptr);
    values.push_back(nullptr);
    pg_conn* const connection = PQconnectStartParams(keywords.data(), values.data(), 0);
    CHECK(connection != nullptr) << "out of memory";
    if (PQstatus(connection) != CONNECTION_BAD)
      return runners_.push_back({connection, PGRES_POLLING_WRITING});
    GiveUp(connection);
  }

  void GiveUp(pg_conn* connection) {
    absl::StrAppend(&errors_, "\n", PQerrorMessage(connection));
    PQfinish(connection);
  }

  pg_conn* Advance(const std::vector<struct pollfd>& sockets) {
    std::vector<Runner> left;
    pg_conn* winner = nullptr;
    for (size_t i = 0; i < sockets.size(); ++i) {
      Runner runner = runners_[i];
      if (winner == nullptr && sockets[i].revents != 0)
        runner.waits_for = PQconnectPoll(runner.connection);
      if (runner.waits_for == PGRES_POLLING_OK) {
        winner = runner.connection;
      } else if (runner.waits_for == PGRES_POLLING_FAILED) {
        GiveUp(runner.connection);
      } else {
        left.push_back(runner);
      }
    }
    runners_ = std::move(left);
    return winner;
  }

  std::vector<Runner> runners_;
  std::string errors_;
};

bool Changes(const char* sql) { return !absl::StartsWith(sql, "SELECT"); }

}  // namespace

Query::~Query() {
  for (Connection::Sent& sent : connection_.sent_) {
    if (sent.query == this) sent.query = nullptr;
  }
}

Query& Query::Bind(int64_t value) {
  parameters_.push_back({kInt8, false, Int8Bytes(value)});
  return *this;
}

Query& Query::BindBool(bool value) {
  parameters_.push_back({kBool, false, std::string(1, value ? '\1' : '\0')});
  return *this;
}

Query& Query::BindBlob(absl::string_view value) {
  parameters_.push_back({kBytea, false, std::string(value)});
  return *this;
}

Query& Query::BindNull() {
  parameters_.push_back({0, true});
  return *this;
}

Query& Query::BindAll(const std::vector<int64_t>& values) {
  std::string bytes = ArrayHeader(kInt8, values.size());
  for (const int64_t value : values) {
    AppendBigEndian(8, 4, bytes);
    AppendBigEndian(static_cast<uint64_t>(value), 8, bytes);
  }
  parameters_.push_back({kInt8Array, false, std::move(bytes)});
  return *this;
}

Query& Query::BindAllBlobs(const std::vector<std::string>& values) {
  std::string bytes = ArrayHeader(kBytea, values.size());
  for (const std::string& value : values) {
    AppendBigEndian(value.size(), 4, bytes);
    bytes += value;
  }
  parameters_.push_back({kByteaArray, false, std::move(bytes)});
  return *this;
}

Query& Query::BindAll(const std::vector<std::optional<int64_t>>& values) {
  std::string bytes = ArrayHeader(kInt8, values.size(), /*has_nulls=*/true);
  for (const std::optional<int64_t>& value : values) {
    AppendBigEndian(value ? 8 : kNullElement, 4, bytes);
    if (value) AppendBigEndian(static_cast<uint64_t>(*value), 8, bytes);
  }
  parameters_.push_back({kInt8Array, false, std::move(bytes)});
  return *this;
}

Query& Query::BindAllBlobs(const std::vector<std::optional<std::string>>& values) {
  std::string bytes = ArrayHeader(kBytea, values.size(), /*has_nulls=*/true);
  for (const std::optional<std::string>& value : values) {
    AppendBigEndian(value ? value->size() : kNullElement, 4, bytes);
    if (value) bytes += *value;
  }
  parameters_.push_back({kByteaArray, false, std::move(bytes)});
  return *this;
}

Query& Query::Passing() {
  is_passing_ = true;
  return *this;
}

absl::Status Query::Run() { return connection_.Send(*this, /*keeps_rows=*/false); }

Query& Query::Start() {
  if (is_started_) return *this;
  is_started_ = true;
  status_ = connection_.Send(*this, /*keeps_rows=*/true);
  return *this;
}

absl::StatusOr<bool> Query::Step() {
  Start();
  if (status_.ok() && rows_ == nullptr) RETURN_IF_ERROR(connection_.Flush());
  RETURN_IF_ERROR(status_);
  if (rows_ == nullptr) return absl::InternalError("a statement of the catalog has no answer");
  return ++row_ < PQntuples(rows_.get());
}

int64_t Query::Int(int column) const {
  if (IsNull(column)) return 0;
  const char* const bytes = PQgetvalue(rows_.get(), row_, column);
  const int size = PQgetlength(rows_.get(), row_, column);
  // The sign is that of the first byte, but of a boolean.
  int64_t number = size > 1 && (static_cast<unsigned char>(bytes[0]) & 0x80) != 0 ? -1 : 0;
  for (int i = 0; i < size; ++i) number = number * 256 + static_cast<unsigned char>(bytes[i]);
  return number;
}

std::string Query::Blob(int column) const {
  return {PQgetvalue(rows_.get(), row_, column),
          static_cast<size_t>(PQgetlength(rows_.get(), row_, column))};
}

bool Query::IsNull(int column) const { return PQgetisnull(rows_.get(), row_, column) != 0; }

absl::StatusOr<std::unique_ptr<Connection>> Connection::Open(
    const std::vector<ConnectionParameters>& hosts, absl::Duration connect_timeout,
    absl::Duration answer_timeout) {
  Race race(hosts);
  pg_conn* const winner = race.Run(After(connect_timeout));
  if (winner == nullptr) return ConnectionRefused(race.errors());
  std::unique_ptr<Connection> connection(new Connection(winner, answer_timeout));
  if (const int version = PQserverVersion(winner); version < kOldestServer) {
    return absl::FailedPreconditionError(absl::StrCat("PostgreSQL ", kOldestServer / kMajor,
                                                      " or newer is needed, the catalog's server "
                                                      "is of version ",
                                                      version / kMajor));
  }
  if (PQsetnonblocking(winner, 1) != 0 || PQenterPipelineMode(winner) != 1)
    return ConnectionLost(PQerrorMessage(winner));
  return connection;
}

Connection::Connection(pg_conn* connection, absl::Duration answer_timeout)
    : connection_(connection), answer_timeout_(answer_timeout) {
  PQsetNoticeReceiver(connection_, TakeNotice, this);
}

Connection::~Connection() { PQfinish(connection_); }

void Connection::TakeNotice(void* connection, const pg_result* notice) {
  const char* const severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
  if (severity == nullptr || absl::string_view(severity) != "WARNING") return;
  static_cast<Connection*>(connection)->was_warned_ = true;
  const char* const message = PQresultErrorField(notice, PG_DIAG_MESSAGE_PRIMARY);
  LOG(WARNING) << "the catalog's server warns: " << NameToText(message == nullptr ? "" : message);
}

absl::Status Connection::Lose(absl::string_view why) {
  if (lost_.ok()) lost_ = ConnectionLost(why);
  remedy_ = Remedy::kReconnect;
  for (const Sent& sent : sent_) {
    if (sent.query != nullptr) sent.query->status_ = lost_;
  }
  sent_.clear();
  return lost_;
}

absl::StatusOr<std::string> Connection::NameOf(const Query& query) {
  std::string& name = names_[query.sql_];
  if (!name.empty()) return name;
  name = absl::StrCat("s", next_name_++);
  std::vector<uint32_t> types;
  for (const Query::Parameter& parameter : query.parameters_) types.push_back(parameter.type);
  if (PQsendPrepare(connection_, name.c_str(), query.sql_, static_cast<int>(types.size()),
                    types.data()) != 1)
    return Lose(PQerrorMessage(connection_));
  sent_.push_back({Sent::Kind::kPrepare, nullptr, query.sql_});
  return name;
}

absl::Status Connection::Send(Query& query, bool keeps_rows) {
  RETURN_IF_ERROR(lost_);
  RETURN_IF_ERROR(failure_);
  ASSIGN_OR_RETURN(const std::string name, NameOf(query));
  std::vector<const char*> values;
  std::vector<int> sizes;
  for (const Query::Parameter& parameter : query.parameters_) {
    values.push_back(parameter.is_null ? nullptr : parameter.bytes.data());
    sizes.push_back(static_cast<int>(parameter.bytes.size()));
  }
  const std::vector<int> formats(values.size(), kBinary);
  if (PQsendQueryPrepared(connection_, name.c_str(), static_cast<int>(values.size()), values.data(),
                          sizes.data(), formats.data(), kBinary) != 1)
    return Lose(PQerrorMessage(connection_));
  if (Changes(query.sql_)) has_written_ = true;
  sent_.push_back({Sent::Kind::kStatement, keeps_rows ? &query : nullptr, query.sql_,
                   query.is_passing_, work_});
  return absl::OkStatus();
}

absl::Status Connection::Flush() {
  RETURN_IF_ERROR(lost_);
  if (sent_.empty()) return failure_;
  if (PQpipelineSync(connection_) != 1) return Lose(PQerrorMessage(connection_));
  sent_.push_back({Sent::Kind::kSync});
  RETURN_IF_ERROR(ReadAnswers());
  return failure_;
}

absl::Status Connection::ReadAnswers() {
  const SteadyTime end = After(answer_timeout_);
  while (!sent_.empty()) {
    while (PQisBusy(connection_) != 0) RETURN_IF_ERROR(WaitForAnswer(end));
    Result result(PQgetResult(connection_), PQclear);
    if (result == nullptr) {
      if (PQstatus(connection_) != CONNECTION_OK) return Lose(PQerrorMessage(connection_));
      if (sent_.front().kind == Sent::Kind::kSync) return Lose("an answer is missing");
      sent_.pop_front();
    } else if (PQresultStatus(result.get()) == PGRES_PIPELINE_SYNC) {
      sent_.pop_front();
    } else {
      if (PQstatus(connection_) != CONNECTION_OK) {
        const std::string why = PQresultErrorMessage(result.get());
        return Lose(why.empty() ? PQerrorMessage(connection_) : why);
      }
      TakeResult(sent_.front(), std::move(result));
    }
  }
  return absl::OkStatus();
}

void Connection::TakeResult(Sent& sent, Result result) {
  switch (PQresultStatus(result.get())) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
      break;
    case PGRES_PIPELINE_ABORTED:
      if (sent.kind == Sent::Kind::kPrepare) names_.erase(sent.sql);
      if (sent.query != nullptr) sent.query->status_ = failure_;
      return;
    default:
      return TakeError(sent, result.get());
  }
  if (sent.kind == Sent::Kind::kPrepare) return;
  const absl::string_view tag = PQcmdStatus(result.get());
  if (tag == "COMMIT") has_committed_ = true;
  const absl::string_view rows = PQcmdTuples(result.get());
  if (!sent.is_passing && Changes(sent.sql) && !rows.empty() && rows != "0")
    changed_.insert(sent.work);
  if (sent.query != nullptr) sent.query->rows_ = std::move(result);
}

void Connection::TakeError(const Sent& sent, const pg_result* result) {
  const char* const state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  const char* const message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
  const ServerError error =
      state == nullptr
          ? ServerError{ConnectionLost(PQresultErrorMessage(result)), Remedy::kReconnect}
          : ServerErrorOf(state, message == nullptr ? "" : message);
  VLOG(1) << "statement failed: " << (sent.sql == nullptr ? "" : sent.sql) << ": " << error.status;
  if (sent.kind == Sent::Kind::kPrepare) names_.erase(sent.sql);
  if (failure_.ok()) {
    failure_ = error.status;
    remedy_ = error.remedy;
  }
  if (sent.query != nullptr) sent.query->status_ = error.status;
}

absl::Status Connection::WaitForAnswer(SteadyTime end) {
  const int unsent = PQflush(connection_);
  if (unsent < 0) return Lose(PQerrorMessage(connection_));
  struct pollfd socket = {PQsocket(connection_), POLLIN, 0};
  if (unsent > 0) socket.events |= POLLOUT;
  const int ready = ::poll(&socket, 1, MillisecondsTo(end));
  if (ready < 0 && errno != EINTR) return Lose("the socket cannot be waited for");
  if (ready == 0 && std::chrono::steady_clock::now() >= end)
    return Lose("the server does not answer in time");
  if (ready > 0 && PQconsumeInput(connection_) != 1) return Lose(PQerrorMessage(connection_));
  return absl::OkStatus();
}

absl::Status Connection::RollBack(const char* sql) {
  Flush().IgnoreError();  // Whatever it says is undone.
  RETURN_IF_ERROR(lost_);
  failure_ = absl::OkStatus();
  remedy_ = Remedy::kNone;
  RETURN_IF_ERROR(Prepare(sql).Run());
  return Flush();
}

absl::Status Connection::Commit(bool& is_unknown) {
  is_unknown = false;
  was_warned_ = has_committed_ = false;
  RETURN_IF_ERROR(lost_);
  absl::Status answered = Prepare("COMMIT").Run();
  if (answered.ok()) answered = Flush();
  is_unknown = is_lost();
  RETURN_IF_ERROR(answered);
  if (!has_committed_) return MakeError(Reason::kStorageIo, "the catalog lost a transaction");
  // "canceling wait for synchronous replication": it is on the primary only, and goes if that does.
  if (!was_warned_) return absl::OkStatus();
  is_unknown = true;
  return MakeError(Reason::kBackendDown,
                   "the catalog's server could not replicate a change; try again", "catalog");
}

absl::Status Connection::EndRead() {
  RETURN_IF_ERROR(Prepare("ROLLBACK").Run());
  if (PQpipelineSync(connection_) != 1) return Lose(PQerrorMessage(connection_));
  sent_.push_back({Sent::Kind::kSync});
  if (PQflush(connection_) < 0) return Lose(PQerrorMessage(connection_));
  return absl::OkStatus();
}

absl::Status Connection::ExecuteScript(const std::string& sql) {
  RETURN_IF_ERROR(Flush());
  if (PQexitPipelineMode(connection_) != 1 || PQsendQuery(connection_, sql.c_str()) != 1)
    return Lose(PQerrorMessage(connection_));
  const SteadyTime end = SteadyTime::max() - std::chrono::hours(1);
  while (true) {
    while (PQisBusy(connection_) != 0) RETURN_IF_ERROR(WaitForAnswer(end));
    Result result(PQgetResult(connection_), PQclear);
    if (result == nullptr) break;
    Sent script;
    script.sql = "script";
    TakeResult(script, std::move(result));
  }
  if (PQstatus(connection_) != CONNECTION_OK || PQenterPipelineMode(connection_) != 1)
    return Lose(PQerrorMessage(connection_));
  return std::exchange(failure_, absl::OkStatus());
}

bool Connection::IsAlive() {
  if (is_lost() || PQstatus(connection_) != CONNECTION_OK) return false;
  struct pollfd socket = {PQsocket(connection_), POLLIN, 0};
  if (::poll(&socket, 1, 0) <= 0) return true;
  // What comes unasked is a notice, or the end.
  return PQconsumeInput(connection_) == 1 && PQstatus(connection_) == CONNECTION_OK &&
         ::poll(&socket, 1, 0) <= 0;
}

}  // namespace backup::storage::postgres
