// bare-echo: what any two processes with gRPC between them and a catalog would need at least.
// `bare-echo front ADDRESS BACK_ADDRESS` passes each call on; `bare-echo back ADDRESS CATALOG`
// writes the rows of our catalog, many callers' in one commit, and answers when they are durable.
// It knows nothing of clients, keys, files or errors.

#include <sqlite3.h>

#include <condition_variable>
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
    auto call = std::make_shared<Passed>();
    call->request = request;
    stub_.UnaryCall(&call->context, "/bare.Echo/Call", grpc::StubOptions(), &call->request,
                    &call->response,
                    [call, answer = std::move(answer)](const grpc::Status& status) {
                      CHECK(status.ok()) << status.error_message();
                      answer(std::move(call->response));
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
    "PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY; "
    "PRAGMA wal_autocheckpoint = 8192; PRAGMA cache_size = -32768;";
constexpr size_t kMaxBatch = 64;

// The rows that each request writes; ?1 is the number of the session.
const std::vector<std::vector<const char*>> kStatements = {
    {"INSERT INTO clients (client_id, name, create_time, last_seen_time, public_key, "
     "sealed_session_key, session_key_bits) VALUES (CAST(printf('%016d', ?1) AS BLOB), "
     "CAST(printf('bare %d', ?1) AS BLOB), ?1, ?1, x'', x'', 0)"},
    {"UPDATE clients SET public_key = zeroblob(162), sealed_session_key = zeroblob(60), "
     "session_key_bits = 128, last_seen_time = ?1 + 1 "
     "WHERE client_id = CAST(printf('%016d', ?1) AS BLOB)"},
    {"INSERT INTO files (file_id, client_id, name) VALUES (?1, "
     "CAST(printf('%016d', ?1) AS BLOB), 'bench.bin')",
     "INSERT INTO versions (version_id, file_id, size_bytes, encoded_size, checksum_kind, "
     "checksum, "
     "sha256, state, receive_time, form, upload_id) VALUES (?1, ?1, 1024, 1040, 4, ?1, "
     "zeroblob(32), 1, ?1, 1, CAST(printf('%016d', ?1) AS BLOB))",
     "INSERT INTO inline_contents VALUES (?1, zeroblob(1240))",
     "UPDATE clients SET last_seen_time = ?1 + 2 "
     "WHERE client_id = CAST(printf('%016d', ?1) AS BLOB)"},
    {"UPDATE versions SET state = 2, verify_time = ?1 WHERE version_id = ?1",
     "UPDATE clients SET last_seen_time = ?1 + 3, last_verified_time = ?1 "
     "WHERE client_id = CAST(printf('%016d', ?1) AS BLOB)"},
};

// Writes rows, on a thread of its own.
class Back {
 public:
  explicit Back(const char* path) {
    CHECK_EQ(sqlite3_open(path, &database_), SQLITE_OK) << path;
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
      for (Entry& entry : batch) entry.answer(EncodeBareResponse(entry.message.kind));
    }
  }

  void WriteRows(const BareMessage& message) {
    for (sqlite3_stmt* const statement : prepared_[static_cast<size_t>(message.kind)]) {
      sqlite3_bind_int64(statement, 1, static_cast<sqlite3_int64>(message.session));
      CHECK_EQ(sqlite3_step(statement), SQLITE_DONE) << sqlite3_errmsg(database_);
      sqlite3_reset(statement);
    }
  }

  sqlite3* database_ = nullptr;
  std::vector<std::vector<sqlite3_stmt*>> prepared_;
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<Entry> waiting_;
  std::thread writer_;
};

// Until the process is ended.
void Listen(const std::string& address, Serve serve) {
  Service service(std::move(serve));
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address, grpc::InsecureServerCredentials());
  builder.RegisterCallbackGenericService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  CHECK(server != nullptr) << "cannot listen on " << address;
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
