package commandprovider_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"io"
	"net"
	"os/exec"
	"strconv"
	"testing"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// sshServer is a host to run commands on: this machine, behind SSH.
type sshServer struct {
	port       int
	hostKey    string
	privateKey string
}

const sshPassword = "hunter2"

func startSSH(t *testing.T) sshServer {
	t.Helper()
	hostKey, hostPEM := newKey(t)
	clientKey, clientPEM := newKey(t)
	_ = hostPEM
	config := &ssh.ServerConfig{
		PasswordCallback: func(_ ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
			if string(password) != sshPassword {
				return nil, io.EOF
			}
			return nil, nil
		},
		PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if string(key.Marshal()) != string(clientKey.PublicKey().Marshal()) {
				return nil, io.EOF
			}
			return nil, nil
		},
	}
	config.AddHostKey(hostKey)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go serveSSH(conn, config)
		}
	}()
	return sshServer{
		port:       listener.Addr().(*net.TCPAddr).Port,
		hostKey:    string(ssh.MarshalAuthorizedKey(hostKey.PublicKey())),
		privateKey: clientPEM,
	}
}

func newKey(t *testing.T) (ssh.Signer, string) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	return signer, string(pem.EncodeToMemory(block))
}

func serveSSH(conn net.Conn, config *ssh.ServerConfig) {
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for channel := range channels {
		stream, requests, err := channel.Accept()
		if err != nil {
			return
		}
		if channel.ChannelType() == "direct-tcpip" {
			go ssh.DiscardRequests(requests)
			go forward(stream, channel.ExtraData())
		} else {
			go serveSession(stream, requests)
		}
	}
}

// forward is what a bastion host does.
func forward(stream ssh.Channel, address []byte) {
	defer stream.Close()
	var target struct {
		Host       string
		Port       uint32
		OriginHost string
		OriginPort uint32
	}
	_ = ssh.Unmarshal(address, &target)
	conn, err := net.Dial("tcp", net.JoinHostPort(target.Host, strconv.Itoa(int(target.Port))))
	if err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(conn, stream)
		conn.Close()
	}()
	_, _ = io.Copy(stream, conn)
}

// serveSession accepts the variables ALLOWED and PULUMI_COMMAND_*, as an sshd with AcceptEnv does.
func serveSession(session ssh.Channel, requests <-chan *ssh.Request) {
	defer session.Close()
	var env []string
	for request := range requests {
		switch request.Type {
		case "env":
			var variable struct{ Name, Value string }
			_ = ssh.Unmarshal(request.Payload, &variable)
			allowed := variable.Name != "REFUSED"
			if allowed {
				env = append(env, variable.Name+"="+variable.Value)
			}
			_ = request.Reply(allowed, nil)
		case "exec":
			var command struct{ Command string }
			_ = ssh.Unmarshal(request.Payload, &command)
			_ = request.Reply(true, nil)
			cmd := exec.Command("/bin/sh", "-c", command.Command)
			cmd.Env = append(cmd.Environ(), env...)
			cmd.Stdout, cmd.Stderr = session, session.Stderr()
			stdin, _ := cmd.StdinPipe()
			go func() {
				_, _ = io.Copy(stdin, session)
				stdin.Close()
			}()
			_ = cmd.Run()
			status := struct{ Status uint32 }{uint32(cmd.ProcessState.ExitCode())}
			_, _ = session.SendRequest("exit-status", false, ssh.Marshal(status))
			return
		case "subsystem":
			_ = request.Reply(true, nil)
			server, err := sftp.NewServer(session)
			if err == nil {
				_ = server.Serve()
			}
			return
		default:
			_ = request.Reply(false, nil)
		}
	}
}
