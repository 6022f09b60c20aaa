#include "rpc/versions.h"

#include "grpcpp/grpcpp.h"
#include "openssl/crypto.h"

namespace backup::rpc {

Labels LibraryVersions() {
  return {{"grpc", grpc::Version()}, {"openssl", OpenSSL_version(OPENSSL_VERSION_STRING)}};
}

}  // namespace backup::rpc
