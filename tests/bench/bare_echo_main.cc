// bare-echo: what any two processes with gRPC between them and a catalog would need at least.
// `bare-echo front ADDRESS BACK_ADDRESS` passes each call on, in the messages of the other hop;
// `bare-echo back ADDRESS CATALOG` writes the rows of our catalog, many callers' in one commit, and
// answers when they are durable. Both print the port on which they listen. They know nothing of
// clients, keys, files or errors.

#include <sqlite3.h>

#include <array>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <iostream>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "glog/logging.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/generic/async_generic_service.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "tests/bench/bare_messages.h"

namespace backup::bench {
namespace {

using Answer = std::function<void(grpc::ByteBuffer)>;
using Serve = std::function<void(const grpc::ByteBuffer&, Answer)>;

// One unary call.
class Call final : public grpc::ServerGenericBidiReactor {
 public:
  explicit Call(const Serve& serve) : serve_(serve) { StartRead(&request_); }
  void OnReadDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::CANCELLED);
    serve_(request_, [this](grpc::ByteBuffer response) {
      response_ = std::move(response);
      StartWriteAndFinish(&response_, grpc::WriteOptions(), grpc::Status::OK);
    });
  }
  void OnDone() override { delete this; }

 private:
  const Serve& serve_;
  grpc::ByteBuffer request_;
  grpc::ByteBuffer response_;
};

class Service final : public grpc::CallbackGenericService {
 public:
  explicit Service(Serve serve) : serve_(std::move(serve)) {}
  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext*) override {
    return new Call(serve_);
  }

 private:
  const Serve serve_;
};

// Passes each call on.
class Front {
 public:
  explicit Front(const std::string& back)
      : stub_(grpc::CreateChannel(back, grpc::InsecureChannelCredentials())) {}
  void Serve(const grpc::ByteBuffer& request, Answer answer) {
    const BareMessage message = DecodeBareRequest(request);
    auto call = std::make_shared<Passed>();
    call->request = EncodeBareRequest(kServiceHop, message);
    stub_.UnaryCall(
        &call->context, "/bare.Echo/Call", grpc::StubOptions(), &call->request, &call->response,
        [call, kind = message.kind, answer = std::move(answer)](const grpc::Status& status) {
          CHECK(status.ok()) << status.error_message();
          answer(EncodeBareResponse(kClientHop, kind));
        });
  }

 private:
  struct Passed {
    grpc::ClientContext context;
    grpc::ByteBuffer request;
    grpc::ByteBuffer response;
  };

  grpc::GenericStub stub_;
};

// As the catalog's writer has them.
constexpr char kSettings[] =
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; "
    "PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY; PRAGMA secure_delete = FAST; "
    "PRAGMA wal_autocheckpoint = 8192; PRAGMA journal_size_limit = 33554432; "
    "PRAGMA cache_size = -32768;";
constexpr size_t kMaxBatch = 64;

// The rows that each request writes: ?1 is the number of the session, ?2 and ?3 the ids of its
// client and its upload, ?4 the client's name, ?5 the time. Sizes are those of ours.
const std::vector<std::vector<const char*>> kStatements = {
    {"INSERT INTO clients (client_id, name, create_time, last_seen_time, public_key, "
     "sealed_session_key, session_key_bits) VALUES (?2, ?4, ?5, ?5, x'', x'', 0)"},
    {"UPDATE clients SET public_key = zeroblob(160), sealed_session_key = zeroblob(44), "
     "session_key_bits = 128, last_seen_time = ?5 WHERE client_id = ?2"},
    {"INSERT INTO files (file_id, client_id, name) VALUES (?1, ?2, 'bench.bin')",
     "INSERT INTO chunks (chunk_no, chunk_id, size_bytes, refs, stored_size, form, coding) VALUES "
     "(?1, CAST(?2 || ?3 AS BLOB), 1024, 1, 1024, 1, 1)",
     "INSERT INTO chunk_payloads VALUES (?1, zeroblob(1024))",
     "UPDATE totals SET chunks = chunks + 1, unique_bytes = unique_bytes + 1024, "
     "compressed_bytes = compressed_bytes + 1024",
     "INSERT INTO versions (version_id, file_id, size_bytes, encoded_size, checksum_kind, "
     "checksum, sha256, state, receive_time, form, upload_id, chunk_no, kept_bytes) VALUES "
     "(?1, ?1, 1024, 1040, 2, 4000000000, zeroblob(32), 1, ?5, 1, ?3, ?1, 1024)",
     "UPDATE clients SET last_seen_time = ?5, family = 'C', header_version = 1, "
     "framing = 'stream', file_style = 'counted', connection_style = zeroblob(24), "
     "checksum_kind = 2 WHERE client_id = ?2"},
    {"UPDATE versions SET state = 2, verify_time = ?5 WHERE version_id = ?1",
     "UPDATE clients SET last_seen_time = ?5, last_verified_time = ?5 WHERE client_id = ?2"},
};

// SplitMix64: as good as at random, and the same again for the same number.
uint64_t Scramble(uint64_t number) {
  number += 0x9E3779B97F4A7C15;
  number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9;
  number = (number ^ (number >> 27)) * 0x94D049BB133111EB;
  return number ^ (number >> 31);
}

// An id of 16 bytes.
std::string Id(uint64_t number) {
  const std::array<uint64_t, 2> words = {Scramble(2 * number), Scramble(2 * number + 1)};
  return std::string(reinterpret_cast<const char*>(words.data()), sizeof(words));
}

// Writes rows, on a thread of its own.
class Back {
 public:
  explicit Back(const char* path) {
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    CHECK_EQ(
        sqlite3_open_v2(path, &database_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr),
        SQLITE_OK)
        << path;
    Execute(kSettings);
    for (const auto& statements : kStatements) {
      prepared_.emplace_back();
      for (const char* const sql : statements) {
        prepared_.back().push_back(nullptr);
        CHECK_EQ(sqlite3_prepare_v2(database_, sql, -1, &prepared_.back().back(), nullptr),
                 SQLITE_OK)
            << sqlite3_errmsg(database_) << ": " << sql;
      }
    }
    writer_ = std::thread([this] { Write(); });
  }

  void Serve(const grpc::ByteBuffer& request, Answer answer) {
    const std::lock_guard<std::mutex> lock(mutex_);
    waiting_.push_back({DecodeBareRequest(request), std::move(answer)});
    arrived_.notify_one();
  }

 private:
  struct Entry {
    BareMessage message;
    Answer answer;
  };

  void Execute(const char* sql) {
    CHECK_EQ(sqlite3_exec(database_, sql, nullptr, nullptr, nullptr), SQLITE_OK)
        << sqlite3_errmsg(database_);
  }

  void Write() {
    while (true) {
      std::vector<Entry> batch;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        arrived_.wait(lock, [this] { return !waiting_.empty(); });
        while (!waiting_.empty() && batch.size() < kMaxBatch) {
          batch.push_back(std::move(waiting_.front()));
          waiting_.pop_front();
        }
      }
      Execute("BEGIN IMMEDIATE");
      for (const Entry& entry : batch) WriteRows(entry.message);
      Execute("COMMIT");
      for (Entry& entry : batch) entry.answer(EncodeBareResponse(kServiceHop, entry.message.kind));
    }
  }

  void WriteRows(const BareMessage& message) {
    const std::string client = Id(2 * message.session);
    const std::string upload = Id(2 * message.session + 1);
    const std::string name = "bench load 1 " + std::to_string(message.session % kMaxBatch) + " " +
                             std::to_string(message.session / kMaxBatch);
    ++time_;
    for (sqlite3_stmt* const statement : prepared_[static_cast<size_t>(message.kind)]) {
      // Those that a statement does not have are refused, which does no harm.
      sqlite3_bind_int64(statement, 1, static_cast<sqlite3_int64>(message.session));
      BindBlob(statement, 2, client);
      BindBlob(statement, 3, upload);
      BindBlob(statement, 4, name);
      sqlite3_bind_int64(statement, 5, time_);
      CHECK_EQ(sqlite3_step(statement), SQLITE_DONE) << sqlite3_errmsg(database_);
      sqlite3_reset(statement);
    }
  }

  static void BindBlob(sqlite3_stmt* statement, int parameter, const std::string& value) {
    sqlite3_bind_blob64(statement, parameter, value.data(), value.size(), SQLITE_STATIC);
  }

  sqlite3* database_ = nullptr;
  std::vector<std::vector<sqlite3_stmt*>> prepared_;
  // Microseconds since 1970, of a clock that counts requests.
  sqlite3_int64 time_ = 1'800'000'000'000'000;
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<Entry> waiting_;
  std::thread writer_;
};

// Until the process is ended.
void Listen(const std::string& address, Serve serve) {
  Service service(std::move(serve));
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port);
  builder.RegisterCallbackGenericService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  CHECK(server != nullptr) << "cannot listen on " << address;
  std::cout << port << std::endl;
  server->Wait();
}

int Main(const std::vector<std::string>& args) {
  if (args.size() != 4 || (args[1] != "front" && args[1] != "back")) {
    std::cerr << "usage: bare-echo front ADDRESS BACK_ADDRESS | bare-echo back ADDRESS CATALOG\n";
    return 2;
  }
  google::InitGoogleLogging(args[0].c_str());
  if (args[1] == "front") {
    Front front(args[3]);
    Listen(args[2], [&](const grpc::ByteBuffer& request, Answer answer) {
      front.Serve(request, std::move(answer));
    });
  } else {
    Back back(args[3].c_str());
    Listen(args[2], [&](const grpc::ByteBuffer& request, Answer answer) {
      back.Serve(request, std::move(answer));
    });
  }
  return 0;
}

}  // namespace
}  // namespace backup::bench

int main(int argc, char** argv) {
  return backup::bench::Main(std::vector<std::string>(argv, argv + argc));
}
